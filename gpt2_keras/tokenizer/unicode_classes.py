"""The character classes of GPT-2's pattern, letter, number, white space, as integers."""

import functools
import importlib.resources
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2_keras.validation import check_choice

UNICODE_VERSION = "16.0.0"  # that of tiktoken 0.9 to 0.14

OTHER, LETTER, NUMBER, WHITE_SPACE = range(4)
CODE_POINTS = 0x110000

_CLASSES = {"letter": LETTER, "number": NUMBER, "white_space": WHITE_SPACE}


def character_classes(unicode_version: str = UNICODE_VERSION) -> NDArray[np.uint8]:
    """Returns the class of every code point.

    Source: `\\p{L}`, `\\p{N}` and `\\s` as tiktoken's regular expressions read
    them; the table is made by `tools.make_unicode_classes`.

    Args:
        unicode_version: Version of Unicode, one for which there is a table.

    Returns:
        Array `(1114112,)` of `OTHER`, `LETTER`, `NUMBER` and `WHITE_SPACE`.

    Raises:
        ValueError: If there is no table of the version.

    Example:
        >>> character_classes()[[ord(c) for c in "a5 !"]].tolist()
        [1, 2, 3, 0]
    """
    classes = np.full(CODE_POINTS, OTHER, np.uint8)
    table = _read_table(unicode_version)
    for name, value in _CLASSES.items():
        for first, last in table[name]:
            classes[first : last + 1] = value
    return classes


@functools.cache
def _read_table(unicode_version: str) -> dict[str, Any]:
    folder = importlib.resources.files("gpt2_keras.tokenizer")
    tables = {entry.name: entry for entry in folder.iterdir()}
    versions = [
        name.removeprefix("unicode_classes-").removesuffix(".json")
        for name in sorted(tables)
        if name.startswith("unicode_classes-")
    ]
    check_choice("unicode_version", unicode_version, versions)
    file = tables[f"unicode_classes-{unicode_version}.json"]
    table: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return table
