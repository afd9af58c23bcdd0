r"""GPT-2's pattern as rules on neighbouring characters, and texts split by them.

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

Source: `self.pat` in openai/gpt-2 `src/encoder.py`.
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpt2_keras.tokenizer.unicode_classes import WHITE_SPACE, character_classes

SPACE, EDGE = 4, 5  # classes of their own: U+0020; a border between texts
APOSTROPHE = ord("'")
CONTRACTIONS = ("s", "t", "m", "d", "re", "ve", "ll")

BORDER = b"\xff"  # between texts; no byte of UTF-8
PADDING = 16  # zeros after the last text, so that the bytes that follow can be read
_BORDER_CHARACTER = 0xDFFF  # a surrogate, which no text has here


def is_start(previous: int, current: int, following: int) -> bool:
    """Returns whether a pre-token starts at a character, contractions aside.

    Args:
        previous, current, following: The classes of the character before, of itself and
            of the character after.
    """
    spaces = (WHITE_SPACE, SPACE)
    if current == EDGE:
        return True
    if current in spaces:
        # The last white space before another class stands alone: \s+(?!\S) leaves it.
        return previous not in spaces or following not in (*spaces, EDGE)
    # One space may lead a run of another class, and is then its first character.
    return previous != SPACE and previous != current


def split_into_pre_tokens(texts: Sequence[str]) -> tuple[bytes, NDArray[np.intp]]:
    r"""Splits texts as GPT-2's pattern does.

    Args:
        texts: Texts without lone surrogates.

    Returns:
        The texts in UTF-8, with `BORDER` between them and `PADDING` zeros after the last, and
        the index of the first byte of each pre-token, in order. A border is a pre-token.

    Raises:
        UnicodeEncodeError: If a text has a lone surrogate.

    Example:
        >>> raw, starts = split_into_pre_tokens(["It's  so", "é1"])
        >>> [raw[a:b] for a, b in itertools.pairwise([*starts, len(raw) - PADDING])]
        [b'It', b"'s", b' ', b' so', b'\xff', b'\xc3\xa9', b'1']
    """
    text = chr(_BORDER_CHARACTER).join(texts)
    raw = BORDER.join([one.encode("utf-8") for one in texts])
    size = len(raw)
    starts = np.zeros(size + PADDING, bool)
    if len(text) == size and raw.isascii():
        starts[:size] = _find_starts(np.frombuffer(raw.translate(_ascii_classes()), np.uint8))
    elif raw:
        code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        # The first bytes of characters: as signed ones, 0x80 to 0xBF are below -64.
        first_bytes = np.flatnonzero(np.frombuffer(raw, np.int8) >= -64)
        starts[first_bytes[_find_starts(_classes().take(code_points))]] = True
    raw += bytes(PADDING)
    if b"'" in raw:
        _split_contractions(np.frombuffer(raw, np.uint8), starts)
    return raw, np.flatnonzero(starts[:size])


def _find_starts(classes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns at which characters a pre-token starts, by the classes of all: `(n,)` → `(n,)`."""
    padded = np.full(len(classes) + 2, EDGE, np.uint8)
    padded[1:-1] = classes
    triples = (padded[:-2] * np.uint8(36) + padded[1:-1] * np.uint8(6)) + padded[2:]
    return np.frombuffer(triples.tobytes().translate(_starts_by_triple()), bool)


def _split_contractions(data: NDArray[np.uint8], starts: NDArray[np.bool_]) -> None:
    """Makes contractions pre-tokens, where one starts at the apostrophe, in place."""
    indices = np.flatnonzero(data == APOSTROPHE)
    indices = indices[starts[indices]]
    sizes = _contraction_sizes().take(data[indices + 1] * np.intp(256) + data[indices + 2])
    indices, sizes = indices[sizes > 0], sizes[sizes > 0]
    starts[indices + 1] = False
    starts[indices + 1 + sizes] = True


@functools.cache
def _starts_by_triple() -> bytes:
    """Returns `is_start` of all classes, as a table for `bytes.translate`."""
    table = bytes(itertools.starmap(is_start, itertools.product(range(6), repeat=3)))
    return table.ljust(256, b"\0")


@functools.cache
def _classes() -> NDArray[np.uint8]:
    """Returns the class of every character, `SPACE` and `EDGE` among them."""
    classes = character_classes()
    classes[[ord(" "), _BORDER_CHARACTER]] = SPACE, EDGE
    return classes


@functools.cache
def _ascii_classes() -> bytes:
    """Returns the classes of ASCII, as a table for `bytes.translate`."""
    return _classes()[:256].tobytes()


@functools.cache
def _contraction_sizes() -> NDArray[np.intp]:
    """Returns the number of letters of the contraction that two bytes begin with, `(65536,)`.

    It is 0 where they begin with none.
    """
    sizes = np.zeros((256, 256), np.intp)
    for letters in CONTRACTIONS:
        sizes[tuple(letters.encode())] = len(letters)  # a row for one letter, an entry for two
    return sizes.reshape(-1)
