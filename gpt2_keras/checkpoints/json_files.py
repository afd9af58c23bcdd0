"""JSON objects of model directories."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt2_keras.checkpoints.damaged import damaged
from gpt2_keras.json_text import parse_json
from gpt2_keras.tokenizer.settings import ENCODING


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file.

    Raises:
        ValueError: If it is not JSON, or not an object.
    """
    try:
        contents = parse_json(path.read_text(encoding=ENCODING))
    except ValueError as error:
        raise damaged(path, "JSON file", error) from error
    if not isinstance(contents, dict):
        raise damaged(path, "JSON object", f"it holds a {type(contents).__name__}")
    return contents


def write_json(path: Path, contents: dict[str, Any]) -> None:
    """Writes an object to a JSON file, its keys in order."""
    path.write_text(json.dumps(contents, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def renamed_fields(
    contents: Mapping[str, Any], names: Mapping[str, str], source: str
) -> dict[str, Any]:
    """Returns the values of some keys of an object, under other names.

    Args:
        contents: The object.
        names: The names of the values in the result, by the keys in the object.
        source: Where the object is from, for error messages.

    Raises:
        ValueError: If the object lacks keys; lists all.
    """
    missing = [key for key in names if key not in contents]
    if missing:
        raise ValueError(
            f"{source} lacks {', '.join(missing)}. It needs the keys {', '.join(names)}. "
            "Get the file again."
        )
    return {name: contents[key] for key, name in names.items()}
