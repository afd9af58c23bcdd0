"""What the README tells a newcomer to type works."""

import json
import re
import shlex
from pathlib import Path

import pytest

from gpt2_keras.cli.main import main
from tests.models import CORPUS, text_model

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """A folder with a book in it."""
    (tmp_path / "book.txt").write_text("Once upon a time " + "".join(CORPUS) * 20)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_its_shell_commands_run_in_their_order(newcomer, capsys):
    (block,) = blocks("sh")
    for line in block.splitlines():
        program, *words = shlex.split(line.replace("--steps 200", "--steps 3"))
        assert program == "gpt2-keras"
        assert main(words) == 0, (line, capsys.readouterr().err)
    assert (newcomer / "serving" / "1" / "saved_model.pb").is_file()
    assert (newcomer / "model.tflite").is_file()


def test_its_python_runs(newcomer, capsys):
    serving, code = blocks("python")
    exec(code.replace("steps_per_epoch=200", "steps_per_epoch=3"), {})  # noqa: S102
    assert capsys.readouterr().out.count("Once") == 1
    exec(serving.replace("demo/saved_model", "book-serving"), {})  # noqa: S102
    assert capsys.readouterr().out.startswith("If an exception")


def test_its_shakespeare_loss_is_the_measured_one():
    result = json.loads((ROOT / "benchmarks/results/shakespeare_char.json").read_text())
    assert f"**{result['validation_loss']}**" in README
    assert f"validation loss of {result['published_by_nanogpt']}" in " ".join(README.split())
    # nanoGPT's figure is an estimate on 20 batches.
    assert abs(result["validation_loss"] - result["published_by_nanogpt"]) <= 0.03


def test_its_make_targets_and_files_exist():
    for target in re.findall(r"^make (\S+)", README, re.MULTILINE):
        assert f"\n{target}:" in MAKEFILE
    for path in re.findall(r"\]\(([\w./]+)\)", README):
        assert (ROOT / path).exists(), path


def test_the_page_on_generation_runs(newcomer, capsys):
    (code,) = blocks("python", (ROOT / "docs" / "generation.md").read_text(encoding="utf-8"))
    text_model(context_length=128).save_to_preset("book-model")
    exec(code, {})  # noqa: S102
    assert capsys.readouterr().out.startswith("length [")
