"""`gpt2-keras tokenizer`."""

import argparse
import json
import subprocess
import sys

import pytest

from gpt2_keras.cli import tokenizer as command
from gpt2_keras.tokenizer import GPT2Tokenizer

TEXT = "low lower lowest slow slower newest " * 3


def run(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_the_tokenizer_of_the_text_is_saved(text, tmp_path, capsys):
    run(text, "--vocab-size", 265, "--out", tmp_path / "out")
    assert GPT2Tokenizer.from_directory(tmp_path / "out") == GPT2Tokenizer.train([TEXT], 265)
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"Wrote a vocabulary of 265 tokens to {tmp_path / 'out'}",
        f"Next: gpt2-keras prepare {text} --tokenizer {tmp_path / 'out'} --out tokens",
    ]
    assert err == ""


def test_json_describes_the_tokenizer(text, tmp_path, capsys):
    run(text, "--vocab-size", 265, "--out", tmp_path / "out", "--json")
    assert json.loads(capsys.readouterr().out) == {
        "tokenizer": str(tmp_path / "out"),
        "vocab_size": 265,
        "merges": 8,
        "end_token_id": 264,
        "fingerprint": GPT2Tokenizer.train([TEXT], 265).fingerprint,
    }


def test_a_vocabulary_smaller_than_asked_for_is_reported(text, tmp_path, capsys):
    run(text, "--vocab-size", 9999, "--out", tmp_path / "out")
    assert "(not 9,999: no other pair of tokens occurs twice" in capsys.readouterr().out


def test_the_text_may_be_in_rows(tmp_path):
    (tmp_path / "rows").write_text(json.dumps({"body": TEXT, "id": "zzzzzz"}) + "\n")
    words = ["--vocab-size", 265, "--input-format", "jsonl", "--text-field", "body"]
    run(tmp_path / "rows", *words, "--out", tmp_path / "out")
    assert GPT2Tokenizer.from_directory(tmp_path / "out") == GPT2Tokenizer.train([TEXT], 265)


def test_another_tokenizer_is_replaced_only_with_overwrite(text, tmp_path):
    run(text, "--vocab-size", 265, "--out", tmp_path / "out")
    with pytest.raises(FileExistsError, match="another merges"):
        run(text, "--vocab-size", 266, "--out", tmp_path / "out")
    run(text, "--vocab-size", 266, "--out", tmp_path / "out", "--overwrite")
    assert GPT2Tokenizer.from_directory(tmp_path / "out").vocab_size == 266


def test_an_empty_corpus_is_an_error_and_writes_nothing(tmp_path):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match="empty"):
        run(tmp_path / "empty.txt", "--vocab-size", 300, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_that_is_too_small_is_wrong_usage(text, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(text, "--vocab-size", 256, "--out", tmp_path / "out")
    assert stop.value.code == 2
    assert "expected an integer of at least 257, got 256" in capsys.readouterr().err


def test_help_needs_nothing_heavy():
    code = (
        "import sys; import gpt2_keras.cli.tokenizer, gpt2_keras.cli.prepare;"
        "assert not {'numpy', 'tensorflow', 'tokenizers', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_has_an_example():
    assert "Example: gpt2-keras tokenizer" in command.__doc__
    assert command.HELP
