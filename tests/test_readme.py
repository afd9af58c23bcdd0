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


# What a run and its certificates take, and not what they are: fewer steps, a smaller model.
SMALL = "--steps 3 --num-layers 1 --num-heads 2 --hidden-dim 32"


def test_its_shell_commands_run_in_their_order(newcomer, capsys, short_certificates):
    (block,) = blocks("sh")
    assert block.count("--steps 200") == 1
    for line in block.splitlines():
        program, *words = shlex.split(line.replace("--steps 200", SMALL))
        assert program == "gpt2-keras"
        assert main(words) == 0, (line, capsys.readouterr().err)
    assert (newcomer / "serving" / "1" / "saved_model.pb").is_file()
    assert (newcomer / "model.tflite").is_file()
    serving, _ = blocks("python")
    exec(serving.replace("demo/saved_model", "serving"), {})  # noqa: S102
    assert capsys.readouterr().out.splitlines()[-1].startswith("If an exception")


def test_its_python_runs(newcomer, capsys):
    _, code = blocks("python")
    code, exports = re.subn(r"^model\.export\(.*\n", "", in_small(code), flags=re.MULTILINE)
    assert exports == 2  # what the commands above do, and the slow test below
    exec(code, {})  # noqa: S102
    assert capsys.readouterr().out.count("Once") == 1
    assert (newcomer / "book-model" / "model.safetensors").is_file()


@pytest.mark.slow
def test_its_python_runs_to_its_exports(newcomer):
    _, code = blocks("python")
    exec(in_small(code), {})  # noqa: S102
    assert (newcomer / "book-serving" / "certificate.json").is_file()
    assert (newcomer / "book.tflite").is_file()


def in_small(code):
    """The program with fewer steps and a smaller model."""
    changes = {"steps_per_epoch=200": 3, "num_layers=2": 1, "num_heads=4": 2, "hidden_dim=128": 32}
    for old, new in changes.items():
        assert code.count(old) == 1
        code = code.replace(old, f"{old.split('=')[0]}={new}")
    return code


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
    code = "".join(blocks("python", (ROOT / "docs" / "generation.md").read_text(encoding="utf-8")))
    text_model(context_length=128, num_layers=1).save_to_preset("book-model")
    exec(code, {})  # noqa: S102
    assert capsys.readouterr().out.startswith("length [")
