"""The page on the tokenizer: its commands and its Python run."""

import re
import shlex
from pathlib import Path

import pytest

from gpt2_keras.cli.main import main
from gpt2_keras.tokenizer.unicode_classes import UNICODE_VERSION

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tokenizer.md"
TEXT = "Once upon a time there was a king, and the king was old.\n" * 20


def blocks(language: str) -> list[str]:
    page = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_page_on_the_tokenizer_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("ai_edge_litert")
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text(TEXT)
    (command,) = blocks("sh")
    assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    capsys.readouterr()
    exec("".join(blocks("python")), {})  # noqa: S102
    sizes, shape, decoded, probabilities = capsys.readouterr().out.splitlines()
    vocab_size, end_token_id = map(int, sizes.split())
    assert 257 < vocab_size <= 300
    assert end_token_id == vocab_size - 1
    assert shape.startswith("(3, 8) [")
    assert "Once upon a time".startswith(decoded)
    assert decoded
    assert probabilities == "(2, 1)"


def test_the_page_names_the_version_of_unicode():
    assert f"Unicode {UNICODE_VERSION}" in PAGE.read_text(encoding="utf-8")
