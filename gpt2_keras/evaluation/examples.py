"""Examples of a task: a JSON object a line."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from gpt2_keras.data.text import check_paths, read_text

# The rule of a field, and whether a value keeps it.
Rule = tuple[str, Callable[[Any], bool]]
TEXT: Rule = ("a string", lambda value: isinstance(value, str))
CHOICES: Rule = (
    "a list of at least two strings, none empty",
    lambda value: (
        isinstance(value, list)
        and len(value) >= 2
        and all(isinstance(choice, str) and choice for choice in value)
    ),
)
LABEL: Rule = (
    "the number of a choice, from 0",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
)


def read_examples(
    path: str | os.PathLike[str], rules: Mapping[str, Rule]
) -> list[tuple[str, dict[str, Any]]]:
    """Reads a JSONL file and checks each object.

    Args:
        path: The file, UTF-8, which may be compressed. Empty lines are passed over.
        rules: The fields that each object must have, and what each must be.
            Other fields are allowed.

    Returns:
        Where each object is, for error messages, and the object.

    Raises:
        ValueError: If a line is not such an object, or there is none.
        FileNotFoundError: If the file is not there.
    """
    (file,) = check_paths([path])
    # Not `splitlines`: JSON strings may hold line ends of other alphabets.
    lines = "".join(read_text(file)).split("\n")
    examples = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = f"{file}, line {number}"
            examples.append((place, check_example(place, _parse(place, line), rules)))
    if not examples:
        raise ValueError(
            f"A task has at least one example. Received: {file}, with none. "
            "Name a file with a JSON object a line."
        )
    return examples


def check_example(place: str, example: Any, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Returns an example that keeps the rules.

    Args:
        place: Where it is, for the message.
        example: The example.
        rules: As for `read_examples`.

    Raises:
        ValueError: If it does not keep them.
    """
    wanted = ", ".join(f"`{name}` ({rule})" for name, (rule, _) in rules.items())
    for name, (_, keeps) in rules.items():
        if not isinstance(example, Mapping) or name not in example or not keeps(example[name]):
            raise ValueError(
                f"An example is an object with {wanted}. "
                f"Received: {place}: {str(example)[:80]}. Mend `{name}` there."
            )
    return dict(example)


def _parse(place: str, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"A file of examples has a JSON object a line. Received: {place}: {error}. "
            "Mend the line."
        ) from error
