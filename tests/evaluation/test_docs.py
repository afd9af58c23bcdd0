"""The code of docs/evaluation.md."""

import re
from pathlib import Path

from tests.models import CORPUS, text_model

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


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
