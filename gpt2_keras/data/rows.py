"""Rows of JSONL, CSV and Parquet files: one document each."""

import codecs
import csv
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from gpt2_keras.data.files import (
    FilePath,
    Opener,
    damage_named,
    decompressed,
    is_compressed,
    open_local,
)
from gpt2_keras.tokenizer.encoding import without_surrogates

DEFAULT_FIELD = "text"
# The largest cell of a CSV file; Python's csv stops at 128 Ki unless told.
LONGEST_CELL = 64 * 1024 * 1024
# Of a JSONL file, for each worker where there are several.
PART_BYTES = 64 * 1024 * 1024
_REPORT_BYTES = 256 * 1024

# Where a part of a file begins and ends: bytes of JSONL, row groups of Parquet. None is its end.
Part = tuple[int, int | None]
WHOLE: Part = (0, None)


def read_rows(
    path: FilePath,
    input_format: str,
    fields: Sequence[str] | None = None,
    *,
    part: Part = WHOLE,
    on_bytes: Callable[[int], None] | None = None,
    open_file: Opener = open_local,
) -> Iterator[tuple[str, ...]]:
    """Reads the rows of a file, in constant memory but for the row itself.

    Args:
        path: File; JSONL and CSV are decompressed if its name says so.
        input_format: `"jsonl"`: an object a line, empty lines left out. `"csv"`:
            the first row has the names. `"parquet"`: needs pyarrow.
        fields: Names of the fields to read. By default `text`; of CSV the first.
        part: The part to read, one of `parts_of`.
        on_bytes: Called with the number of bytes read from disk.
        open_file: Opens the file.

    Returns:
        The texts of the fields, row by row.

    Raises:
        ValueError: While reading: if the file is not of its format or not UTF-8,
            or a row lacks a field or has no text in it. It names file and line.
        ImportError: If pyarrow is needed and not there.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "a.jsonl"
        >>> _ = file.write_text('{"text": "One."}\\n{"text": "Two."}\\n')
        >>> list(read_rows(file, "jsonl"))
        [('One.',), ('Two.',)]
    """
    report = on_bytes if on_bytes is not None else _ignore
    if input_format == "parquet":
        return _read_parquet(path, fields or (DEFAULT_FIELD,), part, report, open_file)
    if input_format == "csv":
        return _read_csv(path, fields, report, open_file)
    return _read_jsonl(path, fields or (DEFAULT_FIELD,), part, report, open_file)


def parts_of(path: FilePath, input_format: str, size: int, open_file: Opener) -> list[Part]:
    """Returns parts of a file that can be read independently, in their order.

    Args:
        path: File.
        input_format: Of the file.
        size: Its number of bytes.
        open_file: Opens the file.
    """
    if input_format == "parquet":
        with open_file(path) as file:
            groups = _parquet_file(file, path).num_row_groups
        return [(group, group + 1) for group in range(groups)]
    if input_format == "jsonl" and not is_compressed(path):
        starts = [*range(0, max(size, 1), PART_BYTES), None]
        return [(start or 0, stop) for start, stop in itertools.pairwise(starts)]
    return [WHOLE]


def _ignore(_: int) -> None:
    """Passes over progress."""


def _lines(
    path: FilePath, part: Part, report: Callable[[int], None], open_file: Opener
) -> Iterator[tuple[int, bytes]]:
    """Yields the lines that begin in a part, with their numbers, counted from its start."""
    start, stop = part
    place, number, reported = max(0, start - 1), 0, 0
    with open_file(path) as file, decompressed(file, path) as stream:
        if start:
            stream.seek(place)
            place += len(stream.readline())  # the end of a line that began before
        while stop is None or place < stop:
            with damage_named(path):
                line = stream.readline()
            if not line:
                break
            is_first, place, number = not place, place + len(line), number + 1
            if place - reported >= _REPORT_BYTES:
                report(file.tell())
                reported = place
            yield number, line.removeprefix(codecs.BOM_UTF8) if is_first else line
        report(file.tell())


def _decoded(line: bytes, path: FilePath, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            "A corpus is UTF-8 text. "
            f"Received: {path}, line {number}, with byte 0x{line[error.start]:02x} at column "
            f"{error.start + 1}. Convert it (`iconv -t UTF-8`)."
        ) from error


def _read_jsonl(
    path: FilePath,
    fields: Sequence[str],
    part: Part,
    report: Callable[[int], None],
    open_file: Opener,
) -> Iterator[tuple[str, ...]]:
    for number, line in _lines(path, part, report, open_file):
        if not line.strip():
            continue
        try:
            yield _json_row(line, fields, path, number)
        except ValueError:
            if part[0] == 0:
                raise
            before = sum(1 for _ in _lines(path, (0, part[0]), _ignore, open_file))
            yield _json_row(line, fields, path, before + number)  # raises, with the right number


def _json_row(line: bytes, fields: Sequence[str], path: FilePath, number: int) -> tuple[str, ...]:
    text = _decoded(line, path, number)
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            "Each line of a JSONL file is a JSON object. "
            f"Received: {path}, line {number}, which is not ({error.msg} at column {error.colno})."
            " Correct the line, or give the file's format with `input_format`."
        ) from error
    if not isinstance(row, dict):
        raise ValueError(
            "Each line of a JSONL file is a JSON object. "
            f"Received: {path}, line {number}, a JSON {type(row).__name__}. "
            'Write {"text": …}, or give the file\'s format with `input_format`.'
        )
    return tuple(
        _text(row.get(field), field, path, f"line {number}", f"fields {', '.join(row) or 'none'}")
        for field in fields
    )


def _text(value: Any, field: str, path: FilePath, place: str, there: str) -> str:
    """Returns the text of a field, without lone surrogates."""
    if not isinstance(value, str):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise ValueError(
            "Each row has text in the field that is read. "
            f"Received: {path}, {place}, with {found} in field {field!r}; {there}. "
            "Name the field (`text_field`), or correct the row."
        )
    return without_surrogates(value)


def _read_csv(
    path: FilePath,
    fields: Sequence[str] | None,
    report: Callable[[int], None],
    open_file: Opener,
) -> Iterator[tuple[str, ...]]:
    lines = (
        _decoded(line, path, number) for number, line in _lines(path, WHOLE, report, open_file)
    )
    csv.field_size_limit(max(LONGEST_CELL, csv.field_size_limit()))
    rows = csv.reader(lines, strict=True)
    header = next(_csv_rows(rows, path), None)
    if header is None:
        return
    places = _columns(header, fields, path)
    for row in _csv_rows(rows, path):
        there = f"the row has {len(row)} of {len(header)} columns"
        yield tuple(
            _text(
                row[place] if place < len(row) else None,
                header[place],
                path,
                f"line {rows.line_num}",
                there,
            )
            for place in places
        )


def _csv_rows(rows: Any, path: FilePath) -> Iterator[list[str]]:
    """Yields the rows that are not empty lines."""
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise ValueError(
                "A CSV file has rows of cells, quoted by double quotes if need be. "
                f"Received: {path}, line {rows.line_num}, which is not so ({error}). "
                "Correct it, or give the file's format with `input_format`."
            ) from error
        if row is None:
            return
        if row:
            yield row


def _columns(header: list[str], fields: Sequence[str] | None, path: FilePath) -> list[int]:
    """Returns the places of the columns to read."""
    if fields is None:
        return [0]
    unknown = [field for field in fields if field not in header]
    if unknown:
        raise ValueError(
            "The first row of a CSV file names its columns. "
            f"Received: {path}, with columns {', '.join(header)}, and field {unknown[0]!r}. "
            "Name one of these (`text_field`)."
        )
    return [header.index(field) for field in fields]


def _read_parquet(
    path: FilePath,
    fields: Sequence[str],
    part: Part,
    report: Callable[[int], None],
    open_file: Opener,
) -> Iterator[tuple[str, ...]]:
    with open_file(path) as file:
        parquet = _parquet_file(file, path)
        names = parquet.schema_arrow.names
        unknown = [field for field in fields if field not in names]
        if unknown:
            raise ValueError(
                "The columns of a Parquet file have names. "
                f"Received: {path}, with columns {', '.join(names)}, and field {unknown[0]!r}. "
                "Name one of these (`text_field`)."
            )
        start, stop = part
        groups = range(parquet.num_row_groups)[start:stop]
        row = sum(parquet.metadata.row_group(group).num_rows for group in range(start))
        for batch in parquet.iter_batches(64, row_groups=list(groups), columns=list(fields)):
            columns = [batch.column(field).to_pylist() for field in fields]
            for values in zip(*columns, strict=True):
                row += 1
                yield tuple(
                    _text(value, field, path, f"row {row}", f"columns {', '.join(names)}")
                    for field, value in zip(fields, values, strict=True)
                )
            report(file.tell())


def _parquet_file(file: IO[bytes], path: FilePath) -> Any:
    """Opens a Parquet file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "Parquet files are read by pyarrow. "
            f"Received: {path}, and it is not installed. Run: pip install 'gpt2-keras[parquet]'"
        ) from error
    try:
        return parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(
            "A Parquet file has its format. "
            f"Received: {path}, which has not ({error}). "
            "Fetch it again, or give the file's format with `input_format`."
        ) from error
