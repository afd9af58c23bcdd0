"""Writes the table of character classes that tiktoken's regular expressions have.

    python -m tools.make_unicode_classes 16.0.0 gpt2_keras/tokenizer/unicode_classes-16.0.0.json

The version is an argument because no package says which Unicode its regular
expressions follow; `tests/tokenizer/test_unicode_classes.py` checks it.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import tiktoken

# The classes of GPT-2's pattern (`self.pat` in openai/gpt-2 src/encoder.py).
PATTERNS = {"letter": r"\p{L}", "number": r"\p{N}", "white_space": r"\s"}
SURROGATES = range(0xD800, 0xE000)  # not characters: UTF-8 has no form of them


def code_points_of(pattern: str) -> list[int]:
    """Returns the code points that a pattern matches in tiktoken.

    Args:
        pattern: A regular expression that matches one character.

    Returns:
        The matching code points, in order.

    Example:
        >>> code_points_of("[a-c]")
        [97, 98, 99]
    """
    byte_encoding = tiktoken.Encoding(
        "bytes",
        pat_str=pattern,
        mergeable_ranks={bytes([value]): value for value in range(256)},
        special_tokens={},
    )
    every_character = "".join(chr(c) for c in range(0x110000) if c not in SURROGATES)
    # What the pattern does not match, tiktoken leaves out.
    found = bytes(byte_encoding.encode_ordinary(every_character)).decode()
    return sorted(map(ord, found))


def ranges_of(code_points: Iterable[int]) -> list[list[int]]:
    """Returns ordered integers as `[first, last]` ranges.

    Example:
        >>> ranges_of([1, 2, 3, 7])
        [[1, 3], [7, 7]]
    """
    ranges: list[list[int]] = []
    for code_point in code_points:
        if ranges and ranges[-1][1] == code_point - 1:
            ranges[-1][1] = code_point
        else:
            ranges.append([code_point, code_point])
    return ranges


def table_text(unicode_version: str) -> str:
    """Returns the table as the text of its file.

    Args:
        unicode_version: The version tiktoken follows, such as `16.0.0`.
    """
    lines = [f'  "unicode_version": {json.dumps(unicode_version)}']
    for name, pattern in PATTERNS.items():
        lines.append(f'  "{name}": {json.dumps(ranges_of(code_points_of(pattern)))}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", help="the Unicode version that tiktoken follows, such as 16.0.0")
    parser.add_argument("file", type=Path, help="the JSON file to write")
    options = parser.parse_args()
    options.file.write_text(table_text(options.version), encoding="utf-8")
