import json

import pytest

from gpt2_keras.cli import demo
from gpt2_keras.cli.main import main
from tests.models import CORPUS

pytest.importorskip("ai_edge_litert", reason="the demo runs the .tflite file")


def test_the_demo_ends_with_the_answers_of_both_artifacts(
    tmp_path, capfd, monkeypatch, short_certificates
):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(CORPUS) * 10)
    monkeypatch.setattr(demo, "SHAPE", {**demo.SHAPE, "num_layers": 1, "hidden_dim": 32})
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--steps", "3", "--corpus", str(corpus)]) == 0
    printed = capfd.readouterr().out
    assert "The SavedModel gives exactly the texts of model.generate." in printed
    assert "The .tflite file gives exactly the texts of model.generate." in printed
    assert printed.count("gpt2-keras generate --model") == 1
    for name in ("tokenizer/vocab.json", "shards/index.json", "run/model/config.json"):
        assert (out / name).is_file()
    for name in ("run/loss.png", "saved_model/1/saved_model.pb", "model.tflite", "explore.html"):
        assert (out / name).is_file()
    assert json.loads((out / "run" / "settings.json").read_text())["steps"] == 3


def test_a_directory_that_exists_is_left_and_the_next_number_used(tmp_path):
    (tmp_path / "demo").mkdir()
    assert demo._new_directory(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo" / "mine").mkdir(parents=True)
    (tmp_path / "demo-2").touch()
    assert demo._new_directory(tmp_path / "demo") == tmp_path / "demo-3"
    assert (tmp_path / "demo" / "mine").is_dir()


def test_its_own_text_ships_with_python(tmp_path):
    text = demo._python_documentation(tmp_path).read_text(encoding="utf-8")
    assert len(text) > 300_000
    assert 'The "try" statement' in text


class OtherModel:
    """A model that says something else than its artifacts."""

    def generate(self, prompts, max_new_tokens):
        return ["b"]


def test_an_artifact_that_says_something_else_is_an_error():
    with pytest.raises(ValueError, match=r"SavedModel answers \['a'\], and model.generate \['b'"):
        demo._check(["a"], ["p"], OtherModel(), "SavedModel")


def test_a_client_that_fails_says_why(tmp_path):
    with pytest.raises(OSError, match=r"(?s)litert.py failed with status 1: .*no-such-path"):
        demo._ask(tmp_path, "ask_litert.py", ["no-such-path", "12", "text"])
