"""Rows of JSONL, CSV and Parquet files, and the texts of files of every format."""

import csv
import gzip
import json

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from gpt2_keras.data import read_texts, rows
from gpt2_keras.data.corpus_files import format_of, open_local

TEXTS = ["One.\nTwo lines.", 'A "quoted", text', "", "Größe 🐢", "last"]


def write_rows(folder, input_format, texts=TEXTS, field="text"):
    """Writes rows with a column before the text; returns the file."""
    file = folder / f"rows.{input_format}"
    if input_format == "jsonl":
        lines = [json.dumps({"id": i, field: text}) for i, text in enumerate(texts)]
        file.write_text("\n\n".join(lines))
    elif input_format == "csv":
        with file.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([[field, "id"], *([text, 1] for text in texts)])
    else:
        table = pyarrow.table({"id": list(range(len(texts))), field: texts})
        parquet.write_table(table, file, row_group_size=2)
    return file


@pytest.mark.parametrize("input_format", ["jsonl", "csv", "parquet"])
def test_each_row_is_a_text(tmp_path, input_format):
    file = write_rows(tmp_path, input_format)
    assert [text for (text,) in rows.read_rows(file, input_format)] == TEXTS
    assert list(read_texts([file])) == [text for text in TEXTS if text]


@pytest.mark.parametrize("input_format", ["jsonl", "csv", "parquet"])
def test_a_field_can_be_named(tmp_path, input_format):
    file = write_rows(tmp_path, input_format, field="body")
    texts = list(read_texts([file], text_field="body"))
    assert texts == [text for text in TEXTS if text]
    numbers = {"jsonl": [], "csv": ["1"] * 5, "parquet": []}[input_format]
    if input_format == "csv":
        assert list(read_texts([file], text_field="id")) == numbers


def test_the_format_is_told_by_the_name_or_given(tmp_path):
    formats = {
        "a.jsonl": "jsonl",
        "a.ndjson.gz": "jsonl",
        "a.csv.xz": "csv",
        "a.parquet": "parquet",
    }
    formats |= {"a.txt": "text", "a": "text", "a.json": "text", "a.md.bz2": "text"}
    assert {name: format_of(name) for name in formats} == formats
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress(write_rows(tmp_path, "jsonl").read_bytes()))
    assert list(read_texts([file]))[-1] == "last"
    assert "".join(read_texts([tmp_path / "rows.jsonl"], input_format="text"))[:7] == '{"id": '


def test_a_csv_file_may_have_large_cells_and_no_row(tmp_path):
    text = "word " * 100_000
    assert list(read_texts([write_rows(tmp_path, "csv", [text])])) == [text]
    (tmp_path / "rows.csv").write_text("")
    assert list(rows.read_rows(tmp_path / "rows.csv", "csv")) == []


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    for input_format in ("jsonl", "csv"):
        file = write_rows(tmp_path, input_format, ["one"])
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
        assert list(rows.read_rows(file, input_format, {"text_field": "text"})) == [("one",)]


def test_half_a_character_becomes_the_replacement(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud83d"}\n{"text": "\\ud83d\\udc22"}')
    assert list(read_texts([tmp_path / "a.jsonl"])) == ["a\ufffd", "🐢"]


@settings(deadline=None, max_examples=60)
@given(sizes=st.lists(st.integers(0, 30), max_size=8), part_bytes=st.integers(1, 60))
def test_the_parts_of_a_jsonl_file_make_the_whole(tmp_path_factory, sizes, part_bytes):
    file = tmp_path_factory.mktemp("parts") / "a.jsonl"
    texts = [str(number) * size for number, size in enumerate(sizes)]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "PART_BYTES", part_bytes)
        parts = rows.parts_of(file, "jsonl", file.stat().st_size, open_local)
    read = [text for part in parts for (text,) in rows.read_rows(file, "jsonl", part=part)]
    assert read == texts
    assert len(parts) == max(1, -(-file.stat().st_size // part_bytes))


def test_the_row_groups_of_a_parquet_file_are_its_parts(tmp_path):
    file = write_rows(tmp_path, "parquet")
    parts = rows.parts_of(file, "parquet", 0, open_local)
    read = [[text for (text,) in rows.read_rows(file, "parquet", part=part)] for part in parts]
    assert read == [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]


def test_other_files_are_one_part(tmp_path):
    assert rows.parts_of("a.jsonl.gz", "jsonl", 10**9, open_local) == [(0, None)]
    assert rows.parts_of("a.csv", "csv", 10**9, open_local) == [(0, None)]


def test_progress_ends_with_all_bytes(tmp_path):
    for input_format in ("jsonl", "csv", "parquet"):
        file, calls = write_rows(tmp_path, input_format), []
        list(read_texts([file], on_progress=lambda *call, calls=calls: calls.append(call)))
        assert calls == sorted(calls)
        size = file.stat().st_size
        assert calls[-1][1] == size
        assert input_format == "parquet" or calls[-1][0] == size


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n\n{bad\n', r"a\.jsonl, line 3, is not JSON \(Expecting prop"),
        ("a.jsonl", b'["a"]', r"a\.jsonl, line 1, is \[\"a\"\], not a JSON object\. Write"),
        (
            "a.jsonl",
            b'{"txt": "a"}',
            r"line 1, has nothing in field 'text', not text; its fields are txt\. ",
        ),
        (
            "a.jsonl",
            b'{"text": 5}',
            r"line 1, has 5 in field 'text', not text; its fields are text\.",
        ),
        (
            "a.jsonl",
            b'{"text": "\xff"}',
            r"a\.jsonl, line 1, has byte 0xff at column 11, which is not UTF-8",
        ),
        ("a.csv", b"text\n1\n\xff", r"a\.csv, line 3, has byte 0xff at column 1, "),
        ("a.csv", b'text\n"a"b\n', r"a\.csv, line 2, is not a row of CSV \("),
        (
            "a.csv",
            b"id,text\n1,a\n2\n",
            r"line 3, has nothing in field 'text', not text; the row has 1 of 2 columns",
        ),
        ("a.csv", b"id,txt\n", r"a\.csv has no column 'text'\. Name one .*: id, txt\."),
        ("a.parquet", b"no", r"a\.parquet is not a Parquet file"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_texts([tmp_path / name], text_field="text"))


def test_a_bad_row_of_a_parquet_file_is_named(tmp_path):
    file = write_rows(tmp_path, "parquet", ["a", None])
    with pytest.raises(
        ValueError, match=r"rows\.parquet, row 2, has nothing in field 'text', not text;"
    ):
        list(read_texts([file]))
    with pytest.raises(ValueError, match=r"has no column 'body'\. .*: id, text\."):
        list(read_texts([file], text_field="body"))


def test_the_line_is_that_of_the_file_in_a_later_part(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 5 + "{bad\n")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 6, is not JSON"):
        list(rows.read_rows(tmp_path / "a.jsonl", "jsonl", part=(20, None)))


def test_an_unknown_format_is_an_error_at_once(tmp_path):
    (tmp_path / "a").write_text("a")
    with pytest.raises(
        ValueError, match=r"^input_format='xml' is unknown\. Use one of 'text', 'jsonl', "
    ):
        read_texts([tmp_path / "a"], input_format="xml")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    file = write_rows(tmp_path, "parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"rows\.parquet cannot be read: .*\. Run: pip install"):
        list(read_texts([file]))
