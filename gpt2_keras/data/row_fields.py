"""What the readers of rows have in common: parts of files, and the texts of fields."""

from collections.abc import Sequence
from typing import Any

from gpt2_keras.data.files import FilePath
from gpt2_keras.tokenizer.encoding import without_surrogates

# Where a part of a file begins and ends: bytes of JSONL, row groups of Parquet. None is its end.
Part = tuple[int, int | None]
WHOLE: Part = (0, None)


def check_columns(columns: Sequence[str], fields: Sequence[str], path: FilePath) -> None:
    """Refuses fields that no column has."""
    unknown = [field for field in fields if field not in columns]
    if unknown:
        raise ValueError(
            "The fields to read are columns of the file. "
            f"Received: {path}, with columns {', '.join(columns)}, and field {unknown[0]!r}. "
            "Name one of these (`text_field`)."
        )


def field_text(value: Any, field: str, path: FilePath, place: str, there: str) -> str:
    """Returns the text of a field, without lone surrogates."""
    if not isinstance(value, str):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise ValueError(
            "Each row has text in the field that is read. "
            f"Received: {path}, {place}, with {found} in field {field!r}; {there}. "
            "Name the field (`text_field`), or correct the row."
        )
    return without_surrogates(value)
