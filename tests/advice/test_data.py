"""What the errors of datasets advise, done."""

import gzip
import io
import shutil
import subprocess

import numpy as np
import pytest

from gpt2_keras import GPT2Tokenizer
from gpt2_keras.data import (
    PreparationOptions,
    TokenShards,
    make_dataset,
    make_instruction_dataset,
    prepare,
    read_conversations,
    read_examples,
)
from tests.advice.following import follow, told
from tests.models import CORPUS

TOKENS = np.arange(100)
FORMAT = "or give the file's format with `input_format`."
EXAMPLES = [{"prompt": "the cat", "completion": " sat on the mat, and the dog"}]


@pytest.fixture(scope="module")
def tokenizer():
    return GPT2Tokenizer.train(CORPUS, vocab_size=280)


@pytest.fixture
def prepared(tokenizer, tmp_path):
    """Makes token shards of files with options."""

    def make(*files, **options):
        out = tmp_path / f"shards{len(list(tmp_path.iterdir()))}"
        return prepare(list(files), tokenizer, out, PreparationOptions(**options))

    return make


def batches(**changes):
    return list(make_dataset(TOKENS, **{"context_length": 8, "batch_size": 4} | changes).take(9))


def test_a_start_after_the_last_batch():
    advice = "Use a smaller one, or repeat=True."
    assert len(follow(batches, advice, repeat=False, start_step=40)) == 9
    assert batches(repeat=False, start_step=2)


def test_a_batch_that_cannot_be_divided():
    remedy = "Use a batch_size that is a multiple of 3, and repeat=True or drop_remainder=True."
    told(lambda: batches(shard=(0, 3), repeat=False), remedy)
    told(lambda: batches(shard=(0, 3), repeat=False, batch_size=9), remedy)
    assert batches(shard=(0, 3), batch_size=9, repeat=True)[0][0].shape == (3, 8)
    assert batches(shard=(0, 3), batch_size=9, repeat=False, drop_remainder=True)


def test_too_few_tokens_for_a_window():
    advice = "Use a longer text or a smaller context_length."
    told(lambda: batches(context_length=100), advice)
    assert batches(context_length=99)


@pytest.mark.parametrize("tokens", ["the cat", [1, 2, 3], np.ones((2, 9), int), np.ones(9)])
def test_no_source_of_tokens(tokens, tokenizer):
    def dataset(tokens):
        return next(iter(make_dataset(tokens, context_length=4, batch_size=2)))

    advice = "Use token shards, or a 1-D array of integers, as np.array(tokenizer.encode(text))."
    told(lambda: dataset(tokens), advice)
    assert dataset(np.array(tokenizer.encode(CORPUS[0])))[0].shape == (2, 4)


def instructions(tokenizer, examples=EXAMPLES, **changes):
    options = {"context_length": 32, "batch_size": 2, "repeat": False} | changes
    data = make_instruction_dataset(examples, tokenizer, **options)
    return [batch[0].shape for batch in data.as_numpy_iterator()]


def test_an_example_that_is_too_long(tokenizer):
    short = [*EXAMPLES, {"prompt": "a", "completion": "b"}]
    advice = "Use a longer context, or too_long='skip' (or 'truncate' if the prompt fits)."
    told(lambda: instructions(tokenizer, short, context_length=8), advice)
    assert instructions(tokenizer, short, context_length=32) == [(2, 32)]
    assert instructions(tokenizer, short, context_length=8, too_long="skip") == [(1, 8)]
    assert instructions(tokenizer, short, context_length=8, too_long="truncate") == [(2, 8)]


def test_no_example_is_left(tokenizer):
    def skipped(context_length):
        return instructions(tokenizer, context_length=context_length, too_long="skip")

    told(lambda: skipped(4), "Use at least one that fits, or a longer context.")
    assert skipped(32)


def test_fields_of_other_names(tokenizer, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"question": "1 + 1?", "answer": " 2"}')
    rows = [{"question": "1 + 1?", "answer": " 2"}]
    told(
        lambda: instructions(tokenizer, rows),
        "Rename its fields, or name them to `read_examples`.",
    )
    renamed = [{"prompt": row["question"], "completion": row["answer"]} for row in rows]
    named = read_examples([file], prompt_field="question", completion_field="answer")
    assert list(named) == renamed
    assert instructions(tokenizer, renamed) == [(1, 32)]


def test_conversations_in_another_field_and_another_file(tmp_path):
    row = '{"talk": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}'
    (tmp_path / "a.jsonl").write_text(row)
    (tmp_path / "a.csv").write_text("talk\n")
    told(
        lambda: list(read_conversations([tmp_path / "a.jsonl"])),
        "Name the field (`messages_field`), or correct the row.",
    )
    told(lambda: list(read_conversations([tmp_path / "a.csv"])), "Write one JSON object per line.")
    assert len(list(read_conversations([tmp_path / "a.jsonl"], messages_field="talk"))) == 1


def test_files_that_are_named_wrongly(prepared, tmp_path):
    file = tmp_path / "texts" / "a.txt"
    file.parent.mkdir()
    file.write_text("the cat " * 9)
    message = told(lambda: prepared(file.parent), "Name the files in it, for example ")
    assert message == f"Name the files in it, for example {file.parent / '*.txt'}."
    assert len(prepared(*file.parent.glob("*.txt"))) > 9


def test_a_path_that_is_no_list(tokenizer, tmp_path):
    file = tmp_path / "book.txt"
    file.write_text("the cat " * 9)
    told(
        lambda: prepare(str(file), tokenizer, tmp_path / "out"),
        "Use a list, for example ['book.txt'].",
    )
    assert len(prepare([str(file)], tokenizer, tmp_path / "out")) > 9


@pytest.mark.parametrize(
    ("name", "content", "wrong", "advice", "options"),
    [
        ("a.jsonl", "the cat sat", {}, FORMAT, {"input_format": "text"}),
        ("a.csv", 'text\n"the cat', {}, FORMAT, {"input_format": "text"}),
        (
            "a.csv",
            "title,body\none,the cat sat\n",
            {"text_field": "text"},
            "Name one of its columns (`text_field`): title, body.",
            {"text_field": "body"},
        ),
        (
            "a.jsonl",
            '{"body": "the cat sat"}',
            {},
            "Name the field (`text_field`), or correct the row.",
            {"text_field": "body"},
        ),
        (
            "a.txt",
            "the cat",
            {"input_format": "txt"},
            "Leave it out to use the format of each file's name.",
            {},
        ),
        (
            "a.txt",
            "the cat",
            {"deduplicate": "yes"},
            "Leave it out to keep every document.",
            {},
        ),
        ("a.txt", "the cat", {"min_characters": 8}, "Use a smaller number.", {"min_characters": 7}),
    ],
)
def test_an_option_that_is_named(name, content, wrong, advice, options, prepared, tmp_path):
    (tmp_path / name).write_text(content)
    told(lambda: prepared(tmp_path / name, **wrong), advice)
    assert len(prepared(tmp_path / name, **options)) > 1


@pytest.mark.skipif(shutil.which("iconv") is None, reason="there is no program iconv")
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_bytes_that_are_not_utf8(name, prepared, tmp_path):
    file, converted = tmp_path / name, tmp_path / f"b{name}"
    file.write_bytes('{"text": "café"}'.encode("latin-1"))
    advice = told(lambda: prepared(file), "for example `iconv ")
    command = advice.split("`")[1].split()
    with converted.open("wb") as out:
        subprocess.run([*command, str(file)], stdout=out, check=True)
    assert "café" in converted.read_text(encoding="utf-8")
    assert len(prepared(converted)) > 1


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
@pytest.mark.parametrize("mistaken", ["prompt_field", "completion_field"])
def test_the_argument_for_a_field_of_examples_is_named(mistaken, name, tmp_path):
    fields = {"prompt_field": "q", "completion_field": "a"}
    rows = {
        ".jsonl": b'{"q": "1 + 1?", "a": "2"}',
        ".csv": b"q,a\n1 + 1?,2\n",
        ".parquet": parquet_bytes({"q": ["1 + 1?"], "a": ["2"]}),
    }
    file = tmp_path / name
    file.write_bytes(rows[file.suffix])
    told(lambda: list(read_examples([file], **fields | {mistaken: "x"})), f"(`{mistaken}`)")
    assert list(read_examples([file], **fields)) == [{"prompt": "1 + 1?", "completion": "2"}]


def parquet_bytes(columns):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("row", "advice"), [("{", "Correct the line."), ("[1]", "Write an object in braces.")]
)
def test_conversations_have_no_other_format(row, advice, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text(row)
    assert told(lambda: list(read_conversations([file])), advice) == advice


def test_a_file_that_is_not_what_its_ending_says(prepared, tmp_path):
    file = tmp_path / "a.txt.gz"
    file.write_text("the cat")
    told(lambda: prepared(file), "Fetch it again, or correct the ending of its name.")
    plain = file.rename(tmp_path / "a.txt")
    assert len(prepared(plain)) > 1
    file.write_bytes(gzip.compress(b"the cat"))
    assert len(prepared(file)) > 1


def test_a_corpus_that_cannot_be_split(prepared, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("the cat " * 9)
    advice = "Use another fraction, or leave it out: training then validates on the last tokens."
    told(lambda: prepared(file, validation_fraction=0.01), advice)
    shards = prepared(file)
    train, validation = shards.split(0.2)
    assert len(train) + len(validation) == len(shards)
    told(lambda: shards.split(0.999), "Use, for example, 0.1 and a longer text.")
    assert all(map(len, shards.split(0.1)))


def test_a_corpus_that_was_split(prepared, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(f'{{"text": "the cat {n}"}}' for n in range(40)))
    shards = prepared(file, validation_fraction=0.5)
    told(lambda: shards.split(0.1), "Leave the argument out.")
    assert all(map(len, shards.split()))


def test_shards_that_were_changed(prepared, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("the cat " * 9)
    shards = prepared(file)
    shard = next(shards.directory.glob("*.bin"))
    shard.write_bytes(shard.read_bytes()[:-2])
    told(lambda: TokenShards.open(shards.directory), "Prepare the corpus again.")
    assert len(TokenShards.open(prepared(file).directory)) == len(shards)
