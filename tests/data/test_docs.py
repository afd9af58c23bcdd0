"""What the page on data tells to type works."""

import json
import re
import shlex
from pathlib import Path

from gpt2_keras.cli.main import main
from gpt2_keras.data import TokenShards
from gpt2_keras.tokenizer import GPT2Tokenizer

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
TEXTS = [f"Page {number} is about the number {number}.\r\n" for number in range(40)]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_on_data_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text("".join(TEXTS) * 5)
    Path("pages.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    rows = [{"question": text, "answer": " yes"} for text in TEXTS]
    Path("answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    GPT2Tokenizer.train(TEXTS, vocab_size=300).save("tokenizer")
    commands = [
        shlex.split(line)
        for block in blocks("sh")
        for line in block.replace("\\\n", "").splitlines()
        if " train " not in line  # has its own tests
    ]
    assert len(commands) == 3
    for _, *words in commands:
        assert main(words) == 0, (words, capsys.readouterr().err)
    assert len(TokenShards.open("dropped")) > len(TokenShards.open("tokens"))
    assert "\r" not in GPT2Tokenizer.from_directory("tokenizer").decode(
        TokenShards.open("pages-tokens")[:]
    )
    capsys.readouterr()
    exec("".join(blocks("python")), {})  # noqa: S102
    assert capsys.readouterr().out == "(2, 64) (2, 64)\n"
