"""What the page on data tells to type works."""

import json
import re
import shlex
from pathlib import Path

from gpt2_keras.cli.main import main
from gpt2_keras.data import TokenShards
from gpt2_keras.tokenizer import GPT2Tokenizer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
TEXTS = [f"Page {number} is about the number {number}.\r\n" for number in range(40)]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_on_data_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text("".join(TEXTS) * 5)
    Path("pages.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    rows = [{"question": text, "answer": " yes"} for text in TEXTS]
    Path("answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answer = [{"role": role, "content": "yes"} for role in ("user", "assistant")]
    Path("chats.jsonl").write_text(json.dumps({"messages": answer}) + "\n")
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
    names = {}
    exec("".join(blocks("python")), names)  # noqa: S102
    assert capsys.readouterr().out == "(2, 64) (2, 64)\n"
    question, assistant = names["prompt"].split("\n\n")
    assert f"```\n{question}\n\n{assistant} Paris<|endoftext|>\n```" in PAGE


def test_its_figures_are_those_of_the_benchmark():
    report = json.loads((ROOT / "benchmarks" / "results" / "prepare.json").read_text())
    cases = {name: row for name, row in report.items() if isinstance(row, dict)}
    for name, row in cases.items():
        speed, peak = row["megabytes_per_cpu_second"], row["peak_megabytes"]
        assert f"| {name} | {row['megabytes']:.0f} | {speed:.2f} | {peak:.0f} |" in PAGE
    peer = cases["sources of Python packages"]["tokenizers_megabytes_per_cpu_second"]
    assert f"without reading or writing, does {peer:.2f}" in PAGE
    half, whole = cases["repeated text, half the size"], cases["repeated text"]
    assert whole["megabytes"] > 1.9 * half["megabytes"]
    assert whole["peak_megabytes"] < 1.1 * half["peak_megabytes"]  # memory is constant
