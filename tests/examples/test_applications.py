"""The example of each application runs."""

import runpy
import sys
from pathlib import Path

import pytest

from tests.models import text_model

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("examples") / "model"
    text_model(context_length=256, num_layers=1).save_to_preset(path)
    return str(path)


def run(monkeypatch, name, *words):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return stopped.value.code


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("summarize", "characters did not fit into the context"),
        ("translate", "Good evening. → "),
        ("answer", "Q: What did it lose?\nA: "),
        ("classify", "calibrated good 0."),
        ("chat", "> Thank you.\n"),
    ],
)
def test_it_runs(model, monkeypatch, capsys, name, shown):
    assert run(monkeypatch, name, model) == 0
    printed = capsys.readouterr()
    assert shown in printed.out + printed.err


@pytest.mark.parametrize("name", ["summarize", "translate", "answer", "classify", "chat"])
def test_without_a_model_it_says_how_to_run_it(monkeypatch, capsys, name):
    assert run(monkeypatch, name) == 2
    assert f"examples/{name}.py MODEL" in capsys.readouterr().err
