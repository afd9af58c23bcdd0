"""The table of character classes, made by `tools/make_unicode_classes.py`."""

from pathlib import Path

import numpy as np
import pytest
import regex

from gpt2_keras.tokenizer.unicode_classes import (
    LETTER,
    NUMBER,
    UNICODE_VERSION,
    WHITE_SPACE,
    character_classes,
)
from tools.make_unicode_classes import ranges_of, table_text


def test_the_table_is_that_of_tiktoken():
    path = f"gpt2_keras/tokenizer/unicode_classes-{UNICODE_VERSION}.json"
    root = Path(__file__).resolve().parents[2]
    assert table_text(UNICODE_VERSION) == (root / path).read_text(encoding="utf-8")


def test_the_table_differs_from_the_regex_module_only_in_newer_characters():
    # `regex` follows a later Unicode: it knows more letters and numbers, and changes none.
    classes = character_classes()
    newer = np.zeros(0x110000, np.uint8)
    for value, pattern in ((LETTER, r"\p{L}"), (NUMBER, r"\p{N}"), (WHITE_SPACE, r"\s")):
        match = regex.compile(pattern).match
        newer[[c for c in range(0x110000) if match(chr(c))]] = value
    different = np.flatnonzero(newer != classes)
    print(len(different), ranges_of(different.tolist()))
    assert (classes[different] == 0).all()
    unassigned_then = [0x088F, 0x20C1, 0x11DB0, 0x323B0, 0x3347B]
    assert not classes[unassigned_then].any()
    assert classes[[0x1C89, 0xA7DA, 0x10D4A]].tolist() == [LETTER] * 3  # new in Unicode 16.0


def test_a_version_of_unicode_without_a_table_is_an_error():
    with pytest.raises(ValueError, match=r"unicode_version='3\.0\.0' is unknown\. Use one of '16"):
        character_classes("3.0.0")
    with pytest.raises(TypeError, match=r"unicode_version=16 is an int\. Use one of '16\.0\.0'"):
        character_classes(16)
