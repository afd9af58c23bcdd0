"""docs/understanding.md: its programs run, and its figures are the measured ones."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

from gpt2_keras.cli.main import main
from tests.models import text_model

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "understanding.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_its_programs_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text_model(context_length=64).save_to_preset("run")
    first, _ = blocks("sh")
    assert main(shlex.split(first)[1:]) == 0
    Path("page.html").unlink()
    (program,) = blocks("python")
    exec(program, {})  # noqa: S102
    assert Path("page.html").is_file()
    assert "the cat sat" in capsys.readouterr().out


@pytest.mark.slow
def test_its_export_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text_model(context_length=64).save_to_preset("run")
    words = shlex.split(blocks("sh")[1])[1:]
    words[words.index("--out") + 1] = "model.tflite"
    assert main([*words, "--no-certificate"]) == 0
    assert b"explore" in Path("model.tflite").read_bytes()


def test_its_figures_were_measured(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    program = runpy.run_path(str(ROOT / "benchmarks" / "understanding.py"))
    results = json.loads(program["RESULT"].read_text(encoding="utf-8"))
    assert program["markdown"](results) in PAGE
    assert results["processor"].split()[0] in PAGE
    for length, largest in ((256, 8e6), (512, 30e6)):
        row = results["lengths"][str(length)]
        assert row["page_bytes"] < largest
        assert row["opening_milliseconds"] < 2000


def test_its_pictures_and_links_are_there():
    for path in re.findall(r"\]\(([\w./-]+)\)", PAGE):
        assert (ROOT / "docs" / path).exists(), path
