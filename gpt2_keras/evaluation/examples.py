"""Examples of a task, one JSON object per line."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from gpt2_keras.data.corpus_files import check_paths
from gpt2_keras.data.text_files import read_chunks
from gpt2_keras.json_text import parse_json

# What the value of a field must be, in words and as a predicate.
FieldType = tuple[str, Callable[[Any], bool]]
TEXT: FieldType = ("a string", lambda value: isinstance(value, str))
CHOICES: FieldType = (
    "a list of at least two strings, none empty",
    lambda value: (
        isinstance(value, list)
        and len(value) >= 2
        and all(isinstance(choice, str) and choice for choice in value)
    ),
)
LABEL: FieldType = (
    "the index of a choice, from 0",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
)


def read_examples(
    path: str | os.PathLike[str], fields: Mapping[str, FieldType]
) -> list[tuple[str, dict[str, Any]]]:
    """Reads a JSONL file and checks each object.

    Args:
        path: The file, UTF-8, which may be compressed. Empty lines are skipped.
        fields: The fields that each object must have, and their types. Other fields
            are allowed.

    Returns:
        For each object its file and line, for error messages, and the object.

    Raises:
        ValueError: If a line is not such an object, or there is none.
        FileNotFoundError: If the file does not exist.
    """
    (file,) = check_paths([path])
    # Not `splitlines`: JSON strings may contain Unicode's other line separators.
    lines = "".join(read_chunks(file)).split("\n")
    examples = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            source = f"{file}, line {number}"
            examples.append((source, check_example(source, _parse(source, line), fields)))
    if not examples:
        raise ValueError(f"{file} has no example. Name a file with one JSON object per line.")
    return examples


def check_example(source: str, example: Any, fields: Mapping[str, FieldType]) -> dict[str, Any]:
    """Returns an example that has some fields.

    Args:
        source: Where it is from, for error messages.
        example: The example.
        fields: As for `read_examples`.

    Raises:
        ValueError: If it is not a mapping, or a field is missing or of another type.
    """
    expected = ", ".join(f"`{name}` ({rule})" for name, (rule, _) in fields.items())
    for name, (_, is_valid) in fields.items():
        if not isinstance(example, Mapping) or not is_valid(example.get(name)):
            raise ValueError(
                f"{source} has no valid `{name}`: {str(example)[:80]}. "
                f"An example is an object with {expected}. Correct `{name}`, or remove the example."
            )
    return dict(example)


def _parse(source: str, line: str) -> Any:
    try:
        return parse_json(line)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{source} is not JSON: {error}. "
            "A file of examples has one JSON object per line; correct the line."
        ) from error
