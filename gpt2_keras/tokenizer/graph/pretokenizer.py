"""GPT-2's pattern as rules on neighbouring bytes.

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

Source: `self.pat` in openai/gpt-2 `src/encoder.py`.

Each byte has a code: the class of the character over it, with U+0020 and
borders as classes of their own, and `CONTINUED` more if the character began
before. Whether a part begins at a byte is in a table by the codes of the byte
before, the byte and the byte behind.

A part that no merge can join falls into more parts (code `CUT`): the ids are the
same, and the parts, often single characters, are short and repeat.
"""

import functools

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gpt2_keras.tokenizer.graph.array_ops import positions, replaced, shifted, taken
from gpt2_keras.tokenizer.graph.utf8 import BORDER, CharacterReader
from gpt2_keras.tokenizer.pretokenizer import APOSTROPHE, CONTRACTIONS, EDGE, SPACE, begins
from gpt2_keras.tokenizer.unicode_classes import OTHER, WHITE_SPACE, character_classes

CONTINUED = 6
CUT = 2 * CONTINUED  # and more: a character that nothing before it merges with
CODES = CUT + 4
SIZE_UNIT = 32  # above a code, the number of bytes of a character


class PartFinder:
    """Finds where the parts begin that GPT-2's pattern cuts a text into.

    A byte that belongs to no character counts as a character of its own,
    neither letter nor number nor white space.

    Args:
        unicode_version: Version of Unicode of the classes.
        num_specials: Number of special tokens.
        joined: As in `MergeTables`.
    """

    def __init__(self, unicode_version: str, num_specials: int, joined: NDArray[np.bool_]) -> None:
        self._read = CharacterReader(unicode_version)
        # The first byte of a special token is an edge, the others nothing begins at.
        edges = [EDGE] * (1 + num_specials) + [EDGE + CONTINUED]
        codes = np.concatenate([_byte_codes(unicode_version), edges])
        self._num_values = len(codes)
        with tf.init_scope():
            self._codes = tf.constant(np.concatenate([codes, _plain_codes()]).astype(np.int32))
            self._cut = tf.constant(np.where(joined, 0, CUT).astype(np.uint8))
            self._begins = tf.constant(part_begins())
            self._letter = tf.constant(_contraction_letters(len(codes)))
            self._contraction = tf.constant(_contraction_sizes())

    def __call__(self, data: tf.Tensor) -> tf.Tensor:
        """Finds the first byte of each part.

        Args:
            data: int32 tensor `(size,)` of bytes, of `BORDER` between texts,
                once before them and `PADDING` times behind them, and of special
                tokens as `mark_specials` leaves them.

        Returns:
            Bool tensor `(size - 2,)`, true where a part begins. The first
            element is that of the second byte. A border is a part.
        """
        leads = self._read.find_leads(data)
        starts = tf.cond(
            tf.size(leads) > 0,
            lambda: self._starts_with_characters(data, leads),
            lambda: self._starts(taken(self._codes, data)),
        )
        return self._split_contractions(data, starts)

    def _starts(self, codes: tf.Tensor) -> tf.Tensor:
        place = (codes[:-2] * CODES + codes[1:-1]) * CODES + codes[2:]
        return taken(self._begins, place)

    def _starts_with_characters(self, data: tf.Tensor, leads: tf.Tensor) -> tf.Tensor:
        """Returns where parts begin if there may be characters of several bytes."""
        found = self._read(data, leads, data)
        size = found.size
        sized = tf.where(found.is_valid, found.character_class + SIZE_UNIT * size, OTHER)
        last_before = tf.minimum(taken(data, leads - 1), BORDER - 1)
        cut = taken(self._cut, last_before * BORDER + found.first)
        # Above all that stands for bytes: code and size.
        spread = sized = replaced(data, leads, self._num_values + sized + tf.cast(cut, tf.int32))
        for back in (1, 2, 3):
            before = shifted(sized, back, 0)
            goes_on = before >= self._num_values + SIZE_UNIT * (back + 1)
            spread = tf.where(goes_on, before + CONTINUED, spread)
        codes = taken(self._codes, spread)
        starts = self._starts(codes)
        # For white space of several bytes, what is behind is behind its last byte.
        chosen = positions(found.states[-1] == 1 + WHITE_SPACE)
        at = tf.gather(leads, chosen)
        behind = tf.gather(codes, at + tf.gather(size, chosen))
        place = (tf.gather(codes, at - 1) * CODES + WHITE_SPACE) * CODES + behind
        return replaced(starts, at - 1, tf.gather(self._begins, place))

    def _split_contractions(self, data: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
        """Makes 's, 't, 'm, 'd, 're, 've and 'll parts of their own where a part begins."""
        at = positions(starts & (data[1:-1] == APOSTROPHE))

        def split() -> tf.Tensor:
            first = tf.gather(self._letter, tf.gather(data, at + 2))
            second = tf.gather(self._letter, tf.gather(data, at + 3))
            sizes = tf.gather(self._contraction, first * len(_LETTERS) + second)
            chosen = positions(sizes > 0)
            begin, size = tf.gather(at, chosen), tf.gather(sizes, chosen)
            changed = tf.concat([begin + 1, begin + 1 + size], 0)
            return replaced(starts, changed, tf.concat([size < 0, size > 0], 0))

        return tf.cond(tf.size(at) > 0, split, lambda: tf.identity(starts))


_LETTERS = ["", *sorted({letter for contraction in CONTRACTIONS for letter in contraction})]


@functools.cache
def part_begins() -> NDArray[np.bool_]:
    """Returns whether a part begins at a byte, by the codes of three bytes.

    Returns:
        Bool array `(CODES ** 3,)`: the byte before, the byte, the byte behind.
    """
    found = np.zeros((CODES, CODES, CODES), bool)
    for before in range(CODES):
        for here in range(CODES):
            for behind in range(CODES):
                found[before, here, behind] = here >= CUT or (
                    here < CONTINUED and begins(before % CONTINUED, here, behind % CONTINUED)
                )
    return found.reshape(-1)


def _byte_codes(unicode_version: str) -> NDArray[np.int32]:
    """Returns the codes of the bytes as characters of their own, `(256,)`."""
    codes = np.full(BORDER, OTHER, np.int32)
    codes[:0x80] = character_classes(unicode_version)[:0x80]
    codes[ord(" ")] = SPACE
    return codes


def _plain_codes() -> NDArray[np.int32]:
    """Returns the codes without the numbers of bytes, `(5 * SIZE_UNIT,)`."""
    codes = np.arange(5 * SIZE_UNIT, dtype=np.int32) % SIZE_UNIT
    # The bytes that go on a character of code `CUT` have the codes of any others.
    return np.where(codes >= CUT + CONTINUED, codes - CUT, codes).astype(np.int32)


def _contraction_letters(size: int) -> NDArray[np.int32]:
    """Returns which letter of a contraction a byte is, 0 if none, `(size,)`."""
    numbers = np.zeros(size, np.int32)
    for number, letter in enumerate(_LETTERS[1:], 1):
        numbers[ord(letter)] = number
    return numbers


def _contraction_sizes() -> NDArray[np.int32]:
    """Returns how many letters of a contraction two letters are, 0 if none."""
    return np.array(
        [
            next((len(c) for c in CONTRACTIONS if (one + two or " ").startswith(c)), 0)
            if one
            else 0
            for one in _LETTERS
            for two in _LETTERS
        ],
        np.int32,
    )
