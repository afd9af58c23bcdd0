"""The command that a command prints as the next one is one that works, whatever the names are."""

import shlex

import pytest

from gpt2_keras.checkpoints import save_openai
from gpt2_keras.cli.main import main
from tests.models import CORPUS, text_model

NAMES = ["with space", "new\nline", "-dash", "a'b\"c", "%s{0}", "$HOME", "*", "é€"]


@pytest.fixture
def printed(capsys):
    def command():
        (words,) = capsys.readouterr().out.split("Next: gpt2-keras ")[1:]
        return shlex.split(words)

    return command


@pytest.mark.parametrize("name", NAMES)
def test_what_import_advises_generates(tmp_path, monkeypatch, capsys, printed, name):
    monkeypatch.chdir(tmp_path)
    save_openai(text_model(num_layers=1), tmp_path / "openai")
    assert main(["import", "openai", f"--out={name}"]) == 0
    words = printed()
    assert main([*words, "--max-new-tokens", "2"]) == 0
    assert capsys.readouterr().out.startswith("Once upon a time")


@pytest.mark.parametrize("name", NAMES)
def test_what_tokenizer_and_prepare_advise_runs(tmp_path, monkeypatch, printed, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(CORPUS[0] * 50)
    assert main(["tokenizer", "--vocab-size=270", f"--out={name}.tok", "--", name]) == 0
    words = printed()
    words[words.index("tokens")] = f"./{name}.tokens"
    assert main(words) == 0
    words = printed()
    assert words[:1] == ["train"]
    small = ["--num-layers=1", "--num-heads=1", "--hidden-dim=8", "--context-length=8",
             "--steps=1", "--batch-size=1", "--dry-run"]  # fmt: skip
    assert main([*words, *small]) == 0
