"""The code, commands and figures of docs/checkpoints.md."""

import json
import re
from pathlib import Path

import pytest

from gpt2_keras.checkpoints import save_openai
from gpt2_keras.cli.main import _parser
from tests.models import text_model

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")


def test_its_python_runs(tmp_path, monkeypatch, capsys):
    save_openai(text_model(), tmp_path / "checkpoint" / "run1")
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    exec(code, {})  # noqa: S102
    assert capsys.readouterr().out.strip() in ("['dull']", "['exciting']")
    written = {"model", "117M", "preset", "adapter", "classifier"}
    assert written <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("command", re.findall(r"`(gpt2-keras (?:import|train) [^`]+)`", PAGE))
def test_its_commands_are_valid(command):
    words = command.split()[1:]
    assert _parser().parse_args(words).command == words[0]


def test_its_figures_of_loading_are_those_of_the_benchmark():
    results = json.loads((ROOT / "benchmarks" / "results" / "loading.json").read_text())
    peaks = [
        result["medians"]["gpt2_keras"]["peak_bytes"] / result["weights_bytes"]
        for result in results.values()
    ]
    largest = results["gpt2_xl bfloat16"]
    figures = [f"{min(peaks):.2f}", f"{max(peaks):.2f}", f"{largest['weights_bytes'] / 1e9:.1f} GB"]
    for peer in ("gpt2_keras", "transformers", "keras_hub"):
        figures.append(f"{largest['medians'][peer]['ready_seconds']:.0f} s")
    (section,) = re.findall(r"^## Memory and time of loading\n(.*?)^## ", PAGE, re.M | re.S)
    assert [figure for figure in figures if figure not in section] == []
