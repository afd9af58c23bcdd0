"""What the readers of JSONL, CSV and Parquet rows share: parts of files, and texts of fields."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from gpt2_keras.data.corpus_files import FilePath, Opener, open_local
from gpt2_keras.tokenizer.encoding import without_surrogates

# Start and end of a part of a file: bytes of JSONL, row groups of Parquet. None is the file's end.
FilePart = tuple[int, int | None]
WHOLE: FilePart = (0, None)


@dataclasses.dataclass(frozen=True)
class RowFile:
    """A file of rows, and how it is read; see `read_rows`."""

    path: FilePath
    part: FilePart = WHOLE
    on_bytes: Callable[[int], None] | None = None
    open_file: Opener = open_local

    def report(self, num_bytes: int) -> None:
        """Reports the number of bytes read from disk."""
        if self.on_bytes is not None:
            self.on_bytes(num_bytes)


def check_columns(columns: Sequence[str], fields: Sequence[str], path: FilePath) -> None:
    """Raises a ValueError if a field is not a column."""
    unknown = [field for field in fields if field not in columns]
    if unknown:
        raise ValueError(
            f"{path} has no column {unknown[0]!r}. "
            f"Name one of its columns (`text_field`): {', '.join(columns)}."
        )


def field_text(value: Any, field: str, source: str, row: str) -> str:
    """Returns the text of a field, without lone surrogates.

    Args:
        value: The value of the field; None if it is missing.
        field: The name of the field.
        source: File and line, for errors.
        row: What the row has, for errors.

    Raises:
        ValueError: If it is not text.
    """
    if not isinstance(value, str):
        found = "nothing" if value is None else f"{value!r:.60}"
        raise ValueError(
            f"{source} has {found} in field {field!r}, not text; {row}. "
            "Name the field (`text_field`), or correct the row."
        )
    return without_surrogates(value)
