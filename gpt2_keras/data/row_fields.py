"""What the readers of JSONL, CSV and Parquet rows share: parts of files, and texts of fields."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gpt2_keras.data.conversation_text import check_message, conversation_text
from gpt2_keras.data.corpus_files import FilePath, Opener, open_local
from gpt2_keras.tokenizer.encoding import without_surrogates

# Start and end of a part of a file: bytes of JSONL, row groups of Parquet. None is the file's end.
FilePart = tuple[int, int | None]
WHOLE: FilePart = (0, None)
# The fields to read, by the argument of the caller that names each.
Fields = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class RowFile:
    """A file of rows, and how it is read; see `read_rows`.

    `or_format` is what errors advise besides correcting a row, nothing where the caller has no
    argument for the format.
    """

    path: FilePath
    part: FilePart = WHOLE
    on_bytes: Callable[[int], None] | None = None
    open_file: Opener = open_local
    or_format: str = ", or give the file's format with `input_format`"

    def report(self, num_bytes: int) -> None:
        """Reports the number of bytes read from disk."""
        if self.on_bytes is not None:
            self.on_bytes(num_bytes)


def check_columns(columns: Sequence[str], fields: Fields, path: FilePath) -> None:
    """Raises a ValueError if a field is not a column."""
    for argument, field in fields.items():
        if field not in columns:
            raise ValueError(
                f"{path} has no column {field!r}. "
                f"Name one of its columns (`{argument}`): {', '.join(columns)}."
            )


def row_texts(values: Iterable[Any], fields: Fields, source: str, row: str) -> tuple[str, ...]:
    """Returns the texts of the fields of a row; see `_field_text`."""
    return tuple(
        _field_text(value, argument, field, source, row)
        for value, (argument, field) in zip(values, fields.items(), strict=True)
    )


def _field_text(value: Any, argument: str, field: str, source: str, row: str) -> str:
    """Returns the text of a field, without lone surrogates; of messages that of the conversation.

    Args:
        value: The value of the field; None if it is missing.
        argument: The argument by which a caller names the field, for errors.
        field: The name of the field.
        source: File and line, for errors.
        row: What the row has, for errors.

    Raises:
        ValueError: If it is not text.
    """
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        for index, message in enumerate(value):
            check_message(f"{source} message {index + 1},", message)
        value = conversation_text(value)
    if not isinstance(value, str):
        found = "nothing" if value is None else f"{value!r:.60}"
        raise ValueError(
            f"{source} has {found} in field {field!r}, not text; {row}. "
            f"Name the field (`{argument}`), or correct the row."
        )
    return without_surrogates(value)
