"""Rows and texts as other programs write them, and files made to harm."""

import csv
import gzip
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from gpt2_keras import GPT2Tokenizer
from gpt2_keras.cli.main import main
from gpt2_keras.data import TokenShards, prepare, read_conversations, read_examples, rows
from gpt2_keras.data.rows import parts_of, read_rows
from gpt2_keras.data.text_files import read_chunks
from tests.models import CORPUS

NASTY = ['"', "'", ",", "\n", "\r\n", "\r", "\t", '""', "a,b", 'say "hi"', "line\nbreak", "\\n",
         "\u2028", "\x00", "\x1a", "\x85", "é€😀", " lead",
         "trail ", "\\", "{}", "null", "​"]  # fmt: skip
TEXT = " ".join(NASTY)


@pytest.fixture(scope="module")
def tokenizer():
    return GPT2Tokenizer.train(CORPUS, vocab_size=280)


def texts(path, **options):
    return [text for (text,) in read_rows(path, **{"input_format": path.suffix[1:], **options})]


@pytest.mark.parametrize("text", [*NASTY, TEXT])
@pytest.mark.parametrize("ascii", [True, False])
def test_jsonl_keeps_every_character(tmp_path, text, ascii):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": text}, ensure_ascii=ascii) + "\n", newline="")
    assert texts(path) == [text]


@pytest.mark.parametrize("text", [text for text in [*NASTY, TEXT] if "\r" not in text])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_keeps_every_character(tmp_path, text, quoting, end):
    table = io.StringIO(newline="")
    writer = csv.writer(table, quoting=quoting, lineterminator=end)
    writer.writerows([["text", "n"], [text, "1"], ["next", "2"]])
    path = tmp_path / "a.csv"
    path.write_bytes(table.getvalue().encode())
    assert texts(path) == [text, "next"]


@pytest.mark.parametrize("text", ["a\r\nb", "a\rb"])
def test_csv_keeps_line_ends_inside_quotes(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(f'text,n\r\n"{text}",1\r\nnext,2\r\n'.encode())
    assert texts(path) == [text, "next"]


@pytest.mark.parametrize("line", ['{"text": null}', "null", '{"text": 5}', '{"text": ["a"]}', "{}"])
def test_rows_without_a_text_are_named(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"a.jsonl, line 2, "):
        texts(path)


@pytest.mark.parametrize("line", ["[" * 10**5, '{"text": ' * 10**5, "1" * 5000, "NaN", '{"text"'])
def test_what_is_no_row_of_json_is_named(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"a.jsonl, line 2, is "):
        texts(path)
    for read in (read_examples, read_conversations):
        with pytest.raises(ValueError, match=r"a.jsonl, line"):
            list(read([path]))


def test_gzip_of_several_members_is_read_to_its_end(tmp_path):
    members = [gzip.compress(f'{{"text": "{i}"}}\n'.encode()) for i in range(3)]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b"".join(members))
    assert texts(path, input_format="jsonl") == ["0", "1", "2"]
    plain = tmp_path / "a.txt.gz"
    plain.write_bytes(gzip.compress(b"the cat") + gzip.compress(b" sat"))
    assert "".join(read_chunks(plain)) == "the cat sat"


def test_gzip_with_a_broken_second_member_is_an_error(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"the cat") + gzip.compress(b" sat")[:-4])
    with pytest.raises(ValueError, match=r"a.txt.gz cannot be decompressed"):
        list(read_chunks(path))


def test_windows_line_ends_are_kept_in_texts_and_end_rows(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\r\ntwo\r\n")
    assert "".join(read_chunks(path)) == "one\r\ntwo\r\n"
    rows_path = tmp_path / "a.jsonl"
    rows_path.write_bytes(b'{"text": "a\\r\\nb"}\r\n\r\n{"text": "c"}\r\n')
    assert texts(rows_path) == ["a\r\nb", "c"]


def test_a_pattern_without_a_match_is_told(tmp_path, tokenizer):
    with pytest.raises(FileNotFoundError, match=r"\*.txt does not exist, and no file matches it"):
        prepare([tmp_path / "*.txt"], tokenizer, tmp_path / "out")


def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path, tokenizer):
    (tmp_path / "[a]*.txt").write_text(CORPUS[0])
    assert len(prepare([tmp_path / "[a]*.txt"], tokenizer, tmp_path / "out")) > 0


def test_a_file_named_twice_is_read_twice_with_a_warning(tmp_path, tokenizer):
    path = tmp_path / "a.txt"
    path.write_text(CORPUS[0])
    with pytest.warns(UserWarning, match=r"a.txt is named more than once, and is read each time"):
        twice = prepare([path, path], tokenizer, tmp_path / "twice")
    once = prepare([path], tokenizer, tmp_path / "once")
    np.testing.assert_array_equal(twice[:], np.tile(once[:], 2))


def test_the_program_says_it_in_a_line(tmp_path, tokenizer, capsys):
    tokenizer.save(tmp_path / "tokenizer")
    path = tmp_path / "a.txt"
    path.write_text(CORPUS[0])
    words = [str(path), str(path), "--tokenizer", str(tmp_path / "tokenizer")]
    assert main(["prepare", *words, "--out", str(tmp_path / "out")]) == 0
    assert TokenShards.open(tmp_path / "out")
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "more than once" in line]
    assert line.startswith(f"gpt2-keras prepare: warning: {path} is named more than once")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.jsonl.gz"])
def test_a_long_line_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", 1000)
    data = b'text\n"a"\n' if "csv" in name else b'{"text": "a"}\n'
    data += b'"' + b"x" * 2000 + b'"\n'
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    number = 3 if "csv" in name else 2
    with pytest.raises(ValueError, match=rf"line {number}, has more than 1000 bytes"):
        texts(path, input_format="csv" if "csv" in name else "jsonl")


def test_parts_after_a_long_line_begin_at_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "PART_BYTES", 100)
    monkeypatch.setattr(rows, "_REPORT_BYTES", 30)
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": text}) for text in ("x" * 950, "b", "c" * 120, "d")]
    path.write_text("\n".join(lines) + "\n")
    parts = parts_of(path, "jsonl", path.stat().st_size, open)
    assert len(parts) > 10
    found = [text for part in parts for (text,) in read_rows(path, "jsonl", part=part)]
    assert found == ["x" * 950, "b", "c" * 120, "d"]


MEASURE = """
import resource, sys
from pathlib import Path
from gpt2_keras import GPT2Tokenizer
from gpt2_keras.data import prepare

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder = Path(sys.argv[1])
tokenizer = GPT2Tokenizer.from_directory(folder / "tokenizer")
before = peak()
try:
    prepare([folder / sys.argv[2]], tokenizer, folder / "out")
except ValueError as error:
    print(error)
assert peak() - before < 700 * 1024, (peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak in KiB")
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_a_line_of_a_gigabyte_takes_bounded_memory(tmp_path, tokenizer, name):
    import subprocess

    tokenizer.save(tmp_path / "tokenizer")
    with Path(tmp_path / name).open("wb") as file:
        file.write(b'text\n"' if name == "a.csv" else b'{"text": "')
        for _ in range(1024):
            file.write(b"x" * 2**20)
        file.write(b'"}\n')
    command = [sys.executable, "-c", MEASURE, str(tmp_path), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "has more than" in done.stdout
