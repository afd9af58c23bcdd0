"""`gpt2-keras prepare`."""

import argparse
import io
import json

import pytest
from rich import console as rich_console

from gpt2_keras.cli import prepare as command
from gpt2_keras.cli.progress import byte_progress
from gpt2_keras.data import TokenShards
from gpt2_keras.data.options import DEFAULT_SHARD_TOKENS
from gpt2_keras.tokenizer import GPT2Tokenizer

TEXT = "low lower lowest slow slower newest\n" * 3


def parse(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture
def corpus(tmp_path):
    """The words of a command that works: text, tokenizer, out."""
    GPT2Tokenizer.train([TEXT], vocab_size=265).save(tmp_path / "tokenizer")
    (tmp_path / "text.txt").write_text(TEXT)
    words = [tmp_path / "text.txt", "--tokenizer", tmp_path / "tokenizer"]
    return [*words, "--out", tmp_path / "tokens"]


def test_the_shards_of_the_text_are_written(corpus, tmp_path, capsys):
    command.run(parse(*corpus))
    tokenizer = GPT2Tokenizer.from_directory(tmp_path / "tokenizer")
    tokens = TokenShards.open(tmp_path / "tokens")
    assert tokens[:].tolist() == [*tokenizer.encode(TEXT), tokenizer.end_token_id]
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{len(tokens)} tokens in 1 shard(s) are in {tmp_path / 'tokens'}",
        f"Next: gpt2-keras train --data {tmp_path / 'tokens'} "
        f"--tokenizer {tmp_path / 'tokenizer'} --out run",
    ]
    assert err == ""


def test_json_says_what_was_made(corpus, tmp_path, capsys):
    command.run(parse(*corpus, "--shard-tokens", 20, "--no-end-of-text", "--json"))
    tokens = TokenShards.open(tmp_path / "tokens")
    assert json.loads(capsys.readouterr().out) == {
        "data": str(tmp_path / "tokens"),
        "num_tokens": len(tokens),
        "num_shards": -(-len(tokens) // 20),
        "num_files": 1,
        "dtype": "uint16",
        "vocab_size": 265,
        "tokenizer": tokens.fingerprint,
    }
    assert 264 not in tokens[:]


def test_the_size_of_a_shard_is_that_of_the_library(corpus):
    assert parse(*corpus).shard_tokens == DEFAULT_SHARD_TOKENS


def test_what_is_there_is_not_overwritten(corpus):
    command.run(parse(*corpus))
    with pytest.raises(FileExistsError, match=r"Received: .*tokens, which holds 2 entries"):
        command.run(parse(*corpus))


def test_a_missing_tokenizer_is_named(corpus, tmp_path):
    corpus[2] = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError, match=r"Received: '.*nowhere', which is not there"):
        command.run(parse(*corpus))


def test_a_shard_without_room_is_wrong_usage(corpus, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(*corpus, "--shard-tokens", 0)
    assert stop.value.code == 2
    assert "expected an integer of at least 1, got 0" in capsys.readouterr().err


def test_help_has_an_example():
    assert "Example: gpt2-keras prepare" in command.__doc__
    assert command.HELP


def test_progress_is_drawn_on_a_terminal_only(monkeypatch, capsys):
    with byte_progress("counting") as on_progress:
        on_progress(1, 2)
    assert capsys.readouterr() == ("", "")
    terminal = rich_console.Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(rich_console, "Console", lambda **options: terminal)
    with byte_progress("counting") as on_progress:
        on_progress(2, 2)
    assert "counting" in terminal.file.getvalue()
    assert "2/2 bytes" in terminal.file.getvalue()
