"""The code of docs/evaluation.md."""

import json
import re
import runpy
from pathlib import Path

from gpt2_keras.evaluation import TASKS
from tests.models import CORPUS, text_model

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_its_python_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    text_model(context_length=64, num_layers=1).save_to_preset("book-model")
    Path("book.txt").write_text(CORPUS[0] * 4, encoding="utf-8")
    exec(code, {})  # noqa: S102
    figures, protocol, *accuracies = capsys.readouterr().out.splitlines()
    assert all(float(figure) > 0 for figure in figures.split())
    assert "windows of 64 tokens that move on by 32" in protocol
    assert all(0 <= float(accuracy) <= 1 for accuracy in accuracies)
    assert len(accuracies) == 2


def test_its_speeds_were_measured(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    program = runpy.run_path(str(ROOT / "benchmarks" / "evaluation.py"))
    results = json.loads(program["RESULT"].read_text(encoding="utf-8"))
    assert program["markdown"](results) in PAGE
    assert results["processor"].split()[0] in PAGE
    for job in results["jobs"].values():
        assert job["ratio"] >= 1
        assert job["log_prob_difference"] < 1e-4


def test_its_tasks_and_protocols_are_those_of_the_package():
    section = PAGE.split("## Published tasks\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[\w-]+`(?:, `[\w-]+`)*) \| .* \| (.*) \|$", section, re.MULTILINE)
    named = {
        task: re.findall(r"`([\w.-]+)`", protocols)
        for tasks, protocols in rows
        for task in re.findall(r"`([\w-]+)`", tasks)
        if task in TASKS
    }
    assert named == {task: list(protocols) for task, protocols in TASKS.items()}
