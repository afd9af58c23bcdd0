"""Rows of JSONL, CSV and Parquet files: one document each."""

import codecs
import csv
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

from gpt2_keras.data.corpus_files import (
    TO_UTF8,
    FilePath,
    Opener,
    decompressed,
    decompression_errors,
    is_compressed,
    open_local,
)
from gpt2_keras.data.parquet import parquet_file, read_parquet
from gpt2_keras.data.row_fields import WHOLE, Fields, FilePart, RowFile, check_columns, row_texts
from gpt2_keras.json_text import parse_json

DEFAULT_FIELD = "text"
_ARGUMENT = "text_field"  # of those who read one text of each row
# The largest cell of a CSV file; the limit of Python's csv module is 128 Ki by default.
MAX_CELL_CHARACTERS = 64 * 1024 * 1024
# Size of the parts of a JSONL file, where several workers read it.
PART_BYTES = 64 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024  # of a row, which is held in memory several times
_REPORT_BYTES = 256 * 1024


def read_rows(
    path: FilePath,
    input_format: str,
    fields: Fields | None = None,
    *,
    part: FilePart = WHOLE,
    on_bytes: Callable[[int], None] | None = None,
    open_file: Opener = open_local,
    or_format: str = RowFile.or_format,
) -> Iterator[tuple[str, ...]]:
    """Reads the rows of a file, in constant memory but for the row itself.

    Args:
        path: File; JSONL and CSV are decompressed by the ending of its name.
        input_format: `"jsonl"`: one object per line, empty lines skipped. `"csv"`:
            the first row has the names. `"parquet"`: needs pyarrow.
        fields: Names of the fields to read, by the arguments that errors call them. By
            default `text`; of CSV the first.
        part: The part to read, one of `parts_of`.
        on_bytes: Called with the number of bytes read from disk.
        open_file: Opens the file.
        or_format: What errors advise besides correcting a row, see `RowFile`.

    Returns:
        The texts of the fields, row by row.

    Raises:
        ValueError: While reading: if the file is not of its format or not UTF-8,
            or a row lacks a field or has no text in it. It names file and line.
        ImportError: If pyarrow is needed and not installed.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "a.jsonl"
        >>> _ = file.write_text('{"text": "One."}\\n{"text": "Two."}\\n')
        >>> list(read_rows(file, "jsonl"))
        [('One.',), ('Two.',)]
    """
    source = RowFile(path, part, on_bytes, open_file, or_format)
    if input_format == "csv":
        return _read_csv(source, fields)
    read = read_parquet if input_format == "parquet" else _read_jsonl
    return read(source, fields or {_ARGUMENT: DEFAULT_FIELD})


def read_objects(path: FilePath) -> Iterator[tuple[int, dict[str, Any]]]:
    """Reads the objects of a JSONL file of this machine, with the numbers of their lines.

    Raises:
        ValueError: While reading, as for `read_rows`.
    """
    source = RowFile(path, or_format="")
    for number, line in _lines(source):
        if line.strip():
            yield number, _json_object(line, source, number)


def parts_of(path: FilePath, input_format: str, size: int, open_file: Opener) -> list[FilePart]:
    """Returns the parts of a file that can be read independently, in order.

    Args:
        path: File.
        input_format: Format of the file.
        size: Its number of bytes.
        open_file: Opens the file.
    """
    if input_format == "parquet":
        with open_file(path) as file:
            groups = parquet_file(file, path).num_row_groups
        return [(group, group + 1) for group in range(groups)]
    if input_format == "jsonl" and not is_compressed(path):
        starts = [*range(0, max(size, 1), PART_BYTES), None]
        return [(start or 0, stop) for start, stop in itertools.pairwise(starts)]
    return [WHOLE]


def _lines(source: RowFile) -> Iterator[tuple[int, bytes]]:
    """Yields the lines that begin in a part, with their numbers, counted from its start."""
    path, (start, stop) = source.path, source.part
    offset, number, reported = max(0, start - 1), 0, 0
    with source.open_file(path) as file, decompressed(file, path) as stream:
        if start:
            stream.seek(offset)
            # The end of a line that began before, which may be longer than memory.
            while part := stream.readline(_REPORT_BYTES):
                offset += len(part)
                if part.endswith(b"\n"):
                    break
        while stop is None or offset < stop:
            with decompression_errors(path):
                line = stream.readline(MAX_LINE_BYTES + 1)
            if not line:
                break
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(
                    f"{path}, line {number + 1}, has more than {MAX_LINE_BYTES} bytes. "
                    f"Split the row into several{source.or_format}."
                )
            is_first, offset, number = not offset, offset + len(line), number + 1
            if offset - reported >= _REPORT_BYTES:
                source.report(file.tell())
                reported = offset
            yield number, line.removeprefix(codecs.BOM_UTF8) if is_first else line
        source.report(file.tell())


def _decoded(line: bytes, path: FilePath, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}, line {number}, has byte 0x{line[error.start]:02x} at column "
            f"{error.start + 1}, which is not UTF-8 text. Convert the file ({TO_UTF8})."
        ) from error


def _read_jsonl(source: RowFile, fields: Fields) -> Iterator[tuple[str, ...]]:
    start = source.part[0]
    for number, line in _lines(source):
        if not line.strip():
            continue
        try:
            yield _json_row(line, fields, source, number)
        except ValueError:
            if not start:
                raise
            before = RowFile(source.path, (0, start), open_file=source.open_file)
            number += sum(1 for _ in _lines(before))
            yield _json_row(line, fields, source, number)  # raises, with the right number


def _json_object(line: bytes, source: RowFile, number: int) -> dict[str, Any]:
    path = source.path
    text = _decoded(line, path, number)
    try:
        row = parse_json(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {number}, is not JSON ({error.msg} at column {error.colno}). "
            f"Correct the line{source.or_format}."
        ) from error
    if not isinstance(row, dict):
        raise ValueError(
            f"{path}, line {number}, is {text.strip():.60}, not a JSON object. "
            f"Write an object in braces{source.or_format}."
        )
    return row


def _json_row(line: bytes, fields: Fields, source: RowFile, number: int) -> tuple[str, ...]:
    row = _json_object(line, source, number)
    names = f"its fields are {', '.join(row) or 'none'}"
    values = (row.get(field) for field in fields.values())
    return row_texts(values, fields, f"{source.path}, line {number},", names)


def _read_csv(source: RowFile, fields: Fields | None) -> Iterator[tuple[str, ...]]:
    path = source.path
    lines = (_decoded(line, path, number) for number, line in _lines(source))
    csv.field_size_limit(max(MAX_CELL_CHARACTERS, csv.field_size_limit()))
    rows = csv.reader(lines, strict=True)
    header = next(_csv_rows(rows, path), None)
    if header is None:
        return
    fields = {_ARGUMENT: header[0]} if fields is None else fields
    check_columns(header, fields, path)
    columns = [header.index(field) for field in fields.values()]
    for row in _csv_rows(rows, path):
        line = f"{path}, line {rows.line_num},"
        size = f"the row has {len(row)} of {len(header)} columns"
        cells = (row[column] if column < len(row) else None for column in columns)
        yield row_texts(cells, fields, line, size)


def _csv_rows(rows: Any, path: FilePath) -> Iterator[list[str]]:
    """Yields the rows that are not empty lines."""
    try:
        yield from filter(None, rows)
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {rows.line_num}, is not a row of CSV ({error}). Cells with commas or "
            "quotes are enclosed in double quotes. "
            "Correct it, or give the file's format with `input_format`."
        ) from error
