"""UTF-8 as integer arithmetic: which bytes make characters, and which are none."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from gpt2_keras.tokenizer.flat_arrays import positions, ranges, replaced, taken
from gpt2_keras.tokenizer.utf8_automaton import (
    COLUMNS,
    FIRST_CONTINUATION,
    NO_CHARACTER,
    utf8_automaton,
)

FIRST_LEAD = 0xC2  # C0 and C1 would only start overlong forms
BORDER = 256  # where there is no byte: what is not less is none
PADDING = 4  # borders behind the text that must be there to be read
REPLACEMENT = (0xEF, 0xBF, 0xBD)  # U+FFFD


class Characters(NamedTuple):
    """What begins at the bytes that may begin a character of several bytes.

    Args:
        first: int32 `(leads,)`, these bytes.
        states: The states of the automaton behind the first byte, the second,
            the third and the fourth, int32 `(leads,)` each.
    """

    first: tf.Tensor
    states: list[tf.Tensor]

    @property
    def is_valid(self) -> tf.Tensor:
        """Bool `(leads,)`, true where there is a character."""
        return self.states[-1] > NO_CHARACTER

    @property
    def character_class(self) -> tf.Tensor:
        """int32 `(leads,)`, the class of a character."""
        return self.states[-1] - 1

    @property
    def size(self) -> tf.Tensor:
        """int32 `(leads,)`, the number of bytes of a character."""
        more = tf.cast(self.first >= 0xE0, tf.int32) + tf.cast(self.first >= 0xF0, tf.int32)
        return 2 + more

    @property
    def beginning(self) -> tf.Tensor:
        """int32 `(leads,)`, number of bytes of the longest beginning of a character, 1 to 4."""
        alive = [tf.cast(state > NO_CHARACTER, tf.int32) for state in self.states[1:]]
        return tf.minimum(self.size, 1 + alive[0] + alive[1] + alive[2])


class CharacterReader:
    """Reads the characters of several bytes.

    Args:
        unicode_version: Version of Unicode of their classes.
    """

    def __init__(self, unicode_version: str) -> None:
        first, following = utf8_automaton(unicode_version)
        columns = np.full(BORDER + 1, COLUMNS - 1, np.int32)
        columns[FIRST_CONTINUATION : FIRST_CONTINUATION + 64] = np.arange(64)
        with tf.init_scope():
            self._first = tf.constant(first.astype(np.int32))
            self._following = tf.constant(following.reshape(-1))
            self._columns = tf.constant(columns)

    @staticmethod
    def find_leads(data: tf.Tensor) -> tf.Tensor:
        """Returns the positions of bytes that may begin a character, int32 `(leads,)`.

        Args:
            data: int32 tensor `(size,)` of bytes and of what is none.
        """
        return positions((data >= FIRST_LEAD) & (data < BORDER))

    def __call__(self, data: tf.Tensor, at: tf.Tensor, following: tf.Tensor) -> Characters:
        """Reads what begins at the given positions.

        Args:
            data: int32 tensor `(size,)` of bytes and of what is none, the last
                `PADDING - 1` no bytes.
            at: int32 tensor `(leads,)`, where to read.
            following: `data` with no byte where no character may go on.
        """
        first = taken(data, at)
        state = taken(self._first, first)
        states = [state]
        for k in (1, 2, 3):
            byte = tf.minimum(taken(following, at + k), BORDER)
            place = state * COLUMNS + taken(self._columns, byte)
            state = tf.cast(taken(self._following, place), tf.int32)
            states.append(state)
        return Characters(first, states)

    def replace_invalid(self, data: tf.Tensor, border: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes bytes valid UTF-8 as `bytes.decode("utf-8", errors="replace")` does.

        Each longest beginning of a character that is not complete, and each
        other byte that belongs to no character, becomes one U+FFFD.

        Args:
            data: int32 tensor `(size,)` of bytes that ends with `PADDING` zeros.
            border: Bool tensor `(size,)`, true at the first byte of each text.

        Returns:
            The bytes, int32 `(new_size,)`, and `new_sizes`, int32 `(size,)`: the
            number of bytes that each byte became. The padding stays as it is.
        """
        at = self.find_leads(data)
        found = self(data, at, tf.where(border, BORDER, data))
        # Sizes of the output, byte by byte: 1 kept, 3 replaced, 0 part of a replaced one.
        new_sizes = tf.where(data >= FIRST_CONTINUATION, 3, 1)
        new_sizes = replaced(new_sizes, at, tf.where(found.is_valid, 1, 3))
        follower, which = ranges(at + 1, found.beginning - 1)
        kept = tf.cast(taken(found.is_valid, which), tf.int32)
        new_sizes = replaced(new_sizes, follower, kept)
        size = tf.shape(data)[0]
        starts = tf.where(new_sizes == 3, size, tf.range(size))
        pool = tf.concat([data, tf.constant(REPLACEMENT, tf.int32)], 0)
        return taken(pool, ranges(starts, new_sizes)[0]), new_sizes
