r"""GPT-2's pattern as rules on neighbouring characters, and texts cut by them.

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
PADDING = 16  # zeros behind the last text, so that bytes ahead can be read
_BORDER_CHARACTER = 0xDFFF  # a surrogate, which no text has here


def begins(before: int, here: int, behind: int) -> bool:
    """Returns whether a piece begins at a character, but for contractions.

    Args:
        before, here, behind: Classes of the character before, itself, and of the one behind.
    """
    spaces = (WHITE_SPACE, SPACE)
    if here == EDGE:
        return True
    if here in spaces:
        # The last white space before something else stands alone: \s+(?!\S) gives it back.
        return before not in spaces or behind not in (*spaces, EDGE)
    # One space may lead a run of another class, and is then its first character.
    return before != SPACE and before != here


def cut_into_pieces(texts: Sequence[str]) -> tuple[bytes, NDArray[np.intp]]:
    r"""Cuts texts where GPT-2's pattern does.

    Args:
        texts: Texts without lone surrogates.

    Returns:
        The texts in UTF-8 with `BORDER` between them and `PADDING` zeros behind, and the
        place where each piece begins, in order. A border is a piece.

    Example:
        >>> raw, starts = cut_into_pieces(["It's  so", "é1"])
        >>> [raw[a:b] for a, b in itertools.pairwise([*starts, len(raw) - PADDING])]
        [b'It', b"'s", b' ', b' so', b'\xff', b'\xc3\xa9', b'1']
    """
    text = chr(_BORDER_CHARACTER).join(texts)
    raw = BORDER.join([one.encode("utf-8") for one in texts])
    size = len(raw)
    is_start = np.zeros(size + PADDING, bool)
    if len(text) == size and raw.isascii():
        is_start[:size] = _begin(np.frombuffer(raw.translate(_ascii_classes()), np.uint8))
    elif raw:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        # The first bytes of characters: as signed ones, 0x80 to 0xBF are below -64.
        places = np.flatnonzero(np.frombuffer(raw, np.int8) >= -64)
        is_start[places[_begin(_classes().take(codes))]] = True
    raw += bytes(PADDING)
    if b"'" in raw:
        _split_contractions(np.frombuffer(raw, np.uint8), is_start)
    return raw, np.flatnonzero(is_start[:size])


def _begin(classes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns at which characters a piece begins, by the classes of all: `(n,)` → `(n,)`."""
    around = np.full(len(classes) + 2, EDGE, np.uint8)
    around[1:-1] = classes
    triple = (around[:-2] * np.uint8(36) + around[1:-1] * np.uint8(6)) + around[2:]
    return np.frombuffer(triple.tobytes().translate(_triples()), bool)


def _split_contractions(data: NDArray[np.uint8], is_start: NDArray[np.bool_]) -> None:
    """Makes contractions pieces of their own where a piece begins, in place."""
    at = np.flatnonzero(data == APOSTROPHE)
    at = at[is_start[at]]
    sizes = _contraction_sizes().take(data[at + 1] * np.intp(256) + data[at + 2])
    at, sizes = at[sizes > 0], sizes[sizes > 0]
    is_start[at + 1] = False
    is_start[at + 1 + sizes] = True


@functools.cache
def _triples() -> bytes:
    """Returns `begins` of all classes, as a table for `bytes.translate`."""
    found = bytes(itertools.starmap(begins, itertools.product(range(6), repeat=3)))
    return found.ljust(256, b"\0")


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
    """Returns how many letters of a contraction two bytes begin with, 0 if none: `(65536,)`."""
    sizes = np.zeros((256, 256), np.intp)
    for letters in CONTRACTIONS:
        sizes[tuple(letters.encode())] = len(letters)  # a row for one, a place for two
    return sizes.reshape(-1)
