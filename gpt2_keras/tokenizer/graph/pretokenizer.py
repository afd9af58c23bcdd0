r"""GPT-2's pattern as rules on neighbouring bytes, in a graph.

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

Source: `self.pat` in openai/gpt-2 `src/encoder.py`.

Each byte has a code: the class of the character that it is of, with U+0020 and
borders as classes of their own, and `CONTINUED` more if the character began
before. A table says whether a pre-token starts at a byte, by the codes of the
byte before, the byte and the byte after.

A pre-token is split further where no merge can join its parts (code `SPLIT`):
the ids are the same, and the parts, often single characters, are short and
occur again.
"""

import functools
import itertools

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gpt2_keras.tokenizer.graph.array_ops import gather, nonzero, scatter_update, shift
from gpt2_keras.tokenizer.graph.utf8 import BORDER, CharacterReader
from gpt2_keras.tokenizer.pretokenizer import APOSTROPHE, CONTRACTIONS, EDGE, SPACE, is_start
from gpt2_keras.tokenizer.unicode_classes import OTHER, WHITE_SPACE, character_classes

CONTINUED = 6
SPLIT = 2 * CONTINUED  # and more: a character that merges with nothing before it
CODES = SPLIT + 4
SIZE_UNIT = 32  # above a code, the number of bytes of a character


class PreTokenizer:
    """Finds where the pre-tokens of texts start.

    A byte that belongs to no character counts as a character of its own,
    neither letter nor number nor white space.

    Args:
        unicode_version: Version of Unicode of the classes.
        num_specials: Number of special tokens.
        joined: As in `Symbols`.

    Raises:
        ValueError: If there is no table of the version.
    """

    def __init__(self, unicode_version: str, num_specials: int, joined: NDArray[np.bool_]) -> None:
        self._read = CharacterReader(unicode_version)
        # The first byte of a special token is an edge; at the others nothing starts.
        edges = [EDGE] * (1 + num_specials) + [EDGE + CONTINUED]
        codes = np.concatenate([_byte_codes(unicode_version), edges])
        self._num_values = len(codes)
        with tf.init_scope():
            self._codes = tf.constant(np.concatenate([codes, _sized_codes()]).astype(np.int32))
            self._split = tf.constant(np.where(joined, 0, SPLIT).astype(np.uint8))
            self._is_start = tf.constant(starts_by_codes())
            self._letter = tf.constant(_contraction_letters(len(codes)))
            self._contraction = tf.constant(_contraction_sizes())

    def __call__(self, data: tf.Tensor) -> tf.Tensor:
        """Finds the first byte of each pre-token.

        Args:
            data: int32 tensor `(size,)` of bytes, of `BORDER` between texts,
                once before them and `PADDING` times after them, and of special
                tokens as `replace_special_tokens` leaves them.

        Returns:
            Bool tensor `(size - 2,)`, true where a pre-token starts. The first
            element is that of the second byte. A border is a pre-token.
        """
        leads = self._read.find_leads(data)
        starts = tf.cond(
            tf.size(leads) > 0,
            lambda: self._find_starts_with_characters(data, leads),
            lambda: self._find_starts(gather(self._codes, data)),
        )
        return self._split_contractions(data, starts)

    def _find_starts(self, codes: tf.Tensor) -> tf.Tensor:
        """Returns where pre-tokens start, by the codes of all bytes: `(size,)` → `(size - 2,)`."""
        return gather(self._is_start, (codes[:-2] * CODES + codes[1:-1]) * CODES + codes[2:])

    def _find_starts_with_characters(self, data: tf.Tensor, leads: tf.Tensor) -> tf.Tensor:
        """Returns where pre-tokens start if there may be characters of several bytes."""
        found = self._read(data, leads, data)
        size = found.size
        sized = tf.where(found.is_valid, found.character_class + SIZE_UNIT * size, OTHER)
        last_before = tf.minimum(gather(data, leads - 1), BORDER - 1)
        split = gather(self._split, last_before * BORDER + found.first)
        # Code and size are coded above all values of `data`.
        sized += self._num_values + tf.cast(split, tf.int32)
        spread = sized = scatter_update(data, leads, sized)
        for back in (1, 2, 3):
            before = shift(sized, back, 0)
            is_continued = before >= self._num_values + SIZE_UNIT * (back + 1)
            spread = tf.where(is_continued, before + CONTINUED, spread)
        codes = gather(self._codes, spread)
        starts = self._find_starts(codes)
        # For white space of several bytes, the byte after is that after its last byte.
        chosen = nonzero(found.states[-1] == 1 + WHITE_SPACE)
        spaces = tf.gather(leads, chosen)
        after = tf.gather(codes, spaces + tf.gather(size, chosen))
        index = (tf.gather(codes, spaces - 1) * CODES + WHITE_SPACE) * CODES + after
        return scatter_update(starts, spaces - 1, tf.gather(self._is_start, index))

    def _split_contractions(self, data: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
        """Makes 's, 't, 'm, 'd, 're, 've and 'll pre-tokens where a pre-token starts."""
        apostrophes = nonzero(starts & (data[1:-1] == APOSTROPHE))

        def split() -> tf.Tensor:
            first = tf.gather(self._letter, tf.gather(data, apostrophes + 2))
            second = tf.gather(self._letter, tf.gather(data, apostrophes + 3))
            sizes = tf.gather(self._contraction, first * len(_LETTERS) + second)
            chosen = nonzero(sizes > 0)
            start, size = tf.gather(apostrophes, chosen), tf.gather(sizes, chosen)
            changed = tf.concat([start + 1, start + 1 + size], 0)
            return scatter_update(starts, changed, tf.concat([size < 0, size > 0], 0))

        return tf.cond(tf.size(apostrophes) > 0, split, lambda: tf.identity(starts))


_LETTERS = ["", *sorted({letter for contraction in CONTRACTIONS for letter in contraction})]


@functools.cache
def starts_by_codes() -> NDArray[np.bool_]:
    """Returns whether a pre-token starts at a byte, by the codes of three bytes.

    Returns:
        Bool array `(CODES ** 3,)`: of the byte before, the byte, the byte after.
    """
    table = [
        current >= SPLIT
        or (current < CONTINUED and is_start(previous % CONTINUED, current, following % CONTINUED))
        for previous, current, following in itertools.product(range(CODES), repeat=3)
    ]
    return np.array(table)


def _byte_codes(unicode_version: str) -> NDArray[np.int32]:
    """Returns the code of each byte as a character of its own, `(256,)`."""
    codes = np.full(BORDER, OTHER, np.int32)
    codes[:0x80] = character_classes(unicode_version)[:0x80]
    codes[ord(" ")] = SPACE
    return codes


def _sized_codes() -> NDArray[np.int32]:
    """Returns the code of each code with a number of bytes above it, `(5 * SIZE_UNIT,)`."""
    codes = np.arange(5 * SIZE_UNIT, dtype=np.int32) % SIZE_UNIT
    # The bytes that continue a character of code `SPLIT` have the codes of any others.
    return np.where(codes >= SPLIT + CONTINUED, codes - SPLIT, codes).astype(np.int32)


def _contraction_letters(size: int) -> NDArray[np.int32]:
    """Returns the number of each byte as a letter of contractions, 0 if none, `(size,)`."""
    numbers = np.zeros(size, np.int32)
    for number, letter in enumerate(_LETTERS[1:], 1):
        numbers[ord(letter)] = number
    return numbers


def _contraction_sizes() -> NDArray[np.int32]:
    """Returns the number of letters of the contraction that two letters begin with, 0 if none."""
    sizes = [
        next((len(c) for c in CONTRACTIONS if first and (first + second).startswith(c)), 0)
        for first, second in itertools.product(_LETTERS, repeat=2)
    ]
    return np.array(sizes, np.int32)
