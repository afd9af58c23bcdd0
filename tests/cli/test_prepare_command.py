"""`gpt2-keras prepare`."""

import argparse
import io
import json
import sys
import types

import pytest
from rich import console as rich_console

from gpt2_keras.cli import prepare as command
from gpt2_keras.cli.progress import byte_progress
from gpt2_keras.data import PreparationOptions, TokenShards
from gpt2_keras.data.corpus_files import INPUT_FORMATS
from gpt2_keras.data.options import DEDUPLICATION, DEFAULT_SHARD_TOKENS
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
        "documents": {"training": 1, "validation": 0, "duplicates": 0, "short": 0},
        "split": None,
        "dtype": "uint16",
        "vocab_size": 265,
        "tokenizer": tokens.fingerprint,
    }
    assert 264 not in tokens[:]


def test_the_size_of_a_shard_is_that_of_the_library(corpus):
    assert parse(*corpus).shard_tokens == DEFAULT_SHARD_TOKENS


def test_what_is_there_is_not_overwritten(corpus):
    command.run(parse(*corpus))
    with pytest.raises(
        FileExistsError, match=r"tokens is not empty \(it has 2 entries\), and nothing is"
    ):
        command.run(parse(*corpus))


def test_a_missing_tokenizer_is_named(corpus, tmp_path):
    corpus[2] = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist\. Use a directory with "):
        command.run(parse(*corpus))


def test_a_shard_without_room_is_wrong_usage(corpus, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(*corpus, "--shard-tokens", 0)
    assert stop.value.code == 2
    assert "expected an integer of at least 1, got 0" in capsys.readouterr().err


def test_rows_are_selected_split_and_counted(corpus, tmp_path, capsys):
    texts = [*(f"low lower {number}" for number in range(40)), "low lower 1", "", "short"]
    (tmp_path / "rows.csv").write_text("id,body\n" + "".join(f'1,"{text}"\n' for text in texts))
    words = ["--text-field", "body", "--deduplicate", "exact", "--min-characters", 6, "--clean"]
    words += ["--validation-fraction", 0.3, "--nfc", "--bpe-dropout", 0.1, "--seed", 2]
    command.run(parse(tmp_path / "rows.csv", *corpus[1:], *words))
    tokens = TokenShards.open(tmp_path / "tokens")
    training, validation = tokens.split()
    found = tokens.index["documents"]
    assert found["training"] + found["validation"] == 40
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "left out: 1 duplicates, 2 short",
        f"to train on: {found['training']} documents, {len(training)} tokens; "
        f"to validate on: {found['validation']} documents, {len(validation)} tokens",
    ]
    expected = PreparationOptions(
        text_field="body", clean=True, nfc=True, min_characters=6, deduplicate="exact",
        bpe_dropout=0.1, seed=2,
    )  # fmt: skip
    assert tokens.index["options"] == expected.to_json()


def test_the_format_can_be_given(corpus, tmp_path, capsys):
    (tmp_path / "text.txt").write_text('{"text": "low"}\n{"text": "slow"}\n')
    command.run(parse(*corpus, "--input-format", "jsonl", "--json"))
    assert json.loads(capsys.readouterr().out)["documents"]["training"] == 2


def test_the_words_for_beam_are_handed_on(corpus, monkeypatch, capsys):
    calls = []
    beam = types.ModuleType("gpt2_keras.data.apache_beam.pipeline")
    beam.prepare_with_beam = lambda *args, **named: calls.append((args, named)) or {
        "num_tokens": 1, "shards": [], "documents": {"duplicates": 0, "short": 0}
    }  # fmt: skip
    monkeypatch.setitem(sys.modules, "gpt2_keras.data.apache_beam.pipeline", beam)
    words = "--beam-options=--runner=FlinkRunner --job_name='two words'"
    command.run(parse(*corpus, "--runner", "beam", words, "--shard-tokens", 9))
    ((args, named),) = calls
    assert args[0] == [str(corpus[0])]
    assert args[3] == PreparationOptions(shard_tokens=9)
    assert named == {"beam_options": ["--runner=FlinkRunner", "--job_name=two words"]}
    with pytest.raises(SystemExit) as stop:
        command.run(parse(*corpus, words))
    assert stop.value.code == 2
    assert "argument --beam-options: needs --runner beam" in capsys.readouterr().err


def test_beam_that_is_not_there_says_what_to_install(corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    for name in [
        name for name in sys.modules if name.startswith("gpt2_keras.data.apache_beam.pipeline")
    ]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(
        ImportError, match=r"no module apache_beam, which .* Run: pip install 'gpt2-keras\["
    ):
        command.run(parse(*corpus, "--runner", "beam"))


def test_the_choices_are_those_of_the_library(corpus):
    choices = {
        action.dest: tuple(action.choices) for action in _actions() if action.choices is not None
    }
    assert choices["input_format"] == INPUT_FORMATS
    assert choices["deduplicate"] == DEDUPLICATION


def _actions():
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser._actions


def test_help_has_an_example():
    assert "Example:\n  gpt2-keras prepare" in command.__doc__
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
