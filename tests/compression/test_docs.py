"""docs/compression.md: its program and commands run, and its table is the measured one."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

from gpt2_keras.cli.main import _parser, main
from gpt2_keras.data import prepare
from tests.models import CORPUS, text_model

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "compression.md").read_text(encoding="utf-8")
TINY = ["--steps", "2", "--batch-size", "2", "--context-length", "8", "--evaluation-batches", "1"]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a model, its shards and the text that the page names."""
    folder = tmp_path_factory.mktemp("docs")
    model = text_model(num_layers=3, hidden_dim=32, intermediate_dim=64)
    model.save_to_preset(folder / "run")
    (folder / "book.txt").write_text(" ".join(CORPUS), encoding="utf-8")
    prepare([folder / "book.txt"], model.tokenizer, folder / "tokens")
    return folder


def test_its_program_runs(home, monkeypatch):
    monkeypatch.chdir(home)
    (program,) = blocks("python")
    names = {}
    exec(program, names)  # noqa: S102
    assert names["history"].history["cross_entropy"][0] > 0


def test_its_commands_run(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 8
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "gpt2-keras"
        if words[0] == "export":
            pytest.importorskip("litert_quantizer")
            continue  # in test_its_exports_run
        words += TINY if words[0] == "train" else []
        assert main(words) == 0, (line, capsys.readouterr().err)


@pytest.mark.slow
def test_its_exports_run(home, monkeypatch, capsys):
    pytest.importorskip("litert_quantizer")
    monkeypatch.chdir(home)
    for line in blocks("sh")[-1].splitlines():
        words = shlex.split(line)[1:]
        assert main([*words, "--no-certificate"]) == 0, (line, capsys.readouterr().err)


def test_its_table_is_what_the_program_measured(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    program = runpy.run_path(str(ROOT / "benchmarks" / "compression.py"))
    result = json.loads(program["RESULT"].read_text(encoding="utf-8"))
    assert program["markdown"](result) in PAGE
    assert result["processor"] in PAGE.replace("\n", " ")
    for steps in (program["TEACHER_STEPS"], program["STUDENT_STEPS"]):
        assert f"{steps}" in PAGE
    rows = result["rows"]
    teacher, student, alone = (
        rows[f"{name}, float32"]["perplexity"] for name in ("teacher", "student", "alone")
    )
    assert student < 1.15 * teacher
    assert student < alone


def test_the_lines_of_the_readme_are_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Making it smaller\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    commands = []
    for line in block.splitlines():
        program, *words = shlex.split(line)
        assert program == "gpt2-keras"
        commands.append(_parser().parse_args(words).command)
    assert commands == ["train", "prune", "export"]  # run with the lines of the page


def test_what_it_says_of_the_table_was_measured():
    result = json.loads((ROOT / "benchmarks" / "results" / "compression.json").read_text())
    rows = result["rows"]
    for name in ("teacher", "student"):
        exact = rows[f"{name}, float32"]["perplexity"]
        change = {
            dtype: abs(rows[f"{name}, {dtype}"]["perplexity"] / exact - 1)
            for dtype in ("int8", "int4", "int4 calibrated")
        }
        assert max(change["int8"], change["int4 calibrated"]) < 1e-3
        assert 1.5e-3 < change["int4"] < 5e-3
    assert rows["pruned, float32"]["perplexity"] < rows["teacher, float32"]["perplexity"]
    assert (
        rows["student, float32"]["tokens_per_second"]
        / (rows["teacher, float32"]["tokens_per_second"])
        > 1.9
    )
