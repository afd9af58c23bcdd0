"""Valid UTF-8 by an automaton: the characters of several bytes, read in a graph.

A state of the automaton is 0 where no character can be, 1 and the class of the
character where one is complete, and above these a beginning of a character.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gpt2_keras.tokenizer.graph.array_ops import concat_ranges, gather, nonzero, scatter_update
from gpt2_keras.tokenizer.unicode_classes import UNICODE_VERSION, character_classes

FIRST_LEAD = 0xC2  # C0 and C1 could only begin overlong forms
FIRST_CONTINUATION = 0x80
COLUMNS = 65  # the 64 continuation bytes, and one column for all others
NO_CHARACTER = 0
NUM_FINAL = 5  # no character, and four classes
BORDER = 256  # between texts; bytes are less, codes of special tokens are not
PADDING = 4  # borders after the last text, so that the bytes that follow can be read
REPLACEMENT = (0xEF, 0xBF, 0xBD)  # U+FFFD


class Characters(NamedTuple):
    """The characters at the bytes that may begin one of several bytes.

    Args:
        first: int32 `(leads,)`, these bytes.
        states: The states of the automaton after the first byte, the second,
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

    Raises:
        ValueError: If there is no table of the version.
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
        """Returns the indices of the bytes that may begin a character, int32 `(leads,)`.

        Args:
            data: int32 tensor `(size,)` of bytes and of codes that are none.
        """
        return nonzero((data >= FIRST_LEAD) & (data < BORDER))

    def __call__(self, data: tf.Tensor, leads: tf.Tensor, following: tf.Tensor) -> Characters:
        """Reads the characters that begin at some indices.

        Args:
            data: int32 tensor `(size,)` of bytes and of codes that are none, the
                last `PADDING - 1` of these no bytes.
            leads: int32 tensor `(leads,)`, the indices.
            following: `data` with `BORDER` where no character may continue.
        """
        first = gather(data, leads)
        state = gather(self._first, first)
        states = [state]
        for k in (1, 2, 3):
            byte = tf.minimum(gather(following, leads + k), BORDER)
            index = state * COLUMNS + gather(self._columns, byte)
            state = tf.cast(gather(self._following, index), tf.int32)
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
        leads = self.find_leads(data)
        found = self(data, leads, tf.where(border, BORDER, data))
        # Sizes of the output, by byte: 1 kept, 3 replaced, 0 part of a replaced beginning.
        new_sizes = tf.where(data >= FIRST_CONTINUATION, 3, 1)
        new_sizes = scatter_update(new_sizes, leads, tf.where(found.is_valid, 1, 3))
        others, which = concat_ranges(leads + 1, found.beginning - 1)
        kept = tf.cast(gather(found.is_valid, which), tf.int32)
        new_sizes = scatter_update(new_sizes, others, kept)
        size = tf.shape(data)[0]
        starts = tf.where(new_sizes == 3, size, tf.range(size))
        with_replacement = tf.concat([data, tf.constant(REPLACEMENT, tf.int32)], 0)
        return gather(with_replacement, concat_ranges(starts, new_sizes)[0]), new_sizes


@functools.cache
def utf8_automaton(
    unicode_version: str = UNICODE_VERSION,
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Returns the automaton of valid UTF-8.

    Valid is what Python decodes: neither overlong forms, nor
    surrogates, nor what is above U+10FFFF. Source: table 3-7 of the Unicode
    Standard, "Well-Formed UTF-8 Byte Sequences".

    Args:
        unicode_version: Version of Unicode, one for which there is a table.

    Returns:
        `first`, int16 `(256,)`, the state after a first byte of several; and
        `following`, int16 `(states, COLUMNS)`, the state after a state and a
        byte, the byte less `FIRST_CONTINUATION`.

    Raises:
        ValueError: If there is no table of the version.

    Example:
        >>> first, following = utf8_automaton()
        >>> lead, last = "ж".encode()
        >>> int(following[first[lead], last - FIRST_CONTINUATION])  # 1 + LETTER
        2
    """
    complete = 1 + character_classes(unicode_version).reshape(-1, 64).astype(np.int16)
    complete[0xD800 >> 6 : 0xE000 >> 6] = NO_CHARACTER  # surrogates
    rows = [np.full(COLUMNS, state, np.int16) for state in range(NUM_FINAL)]
    # From the last byte to the first: 64 characters, 64 times 64, and so on.
    last = _states(complete, rows)
    before_last = _states(last.reshape(-1, 64), rows)
    # Padded, for the planes end within the bytes after F4.
    four = np.zeros(8 * 64, np.int16)
    four[: len(before_last)] = before_last
    four[: 0x10000 >> 12] = NO_CHARACTER  # overlong
    three = last[: 0x10000 >> 6].copy()
    three[: 0x800 >> 6] = NO_CHARACTER  # overlong
    first = np.zeros(256, np.int16)
    first[0xC2:0xE0] = last[2:32]
    first[0xE0:0xF0] = _states(three.reshape(-1, 64), rows)
    first[0xF0:0xF5] = _states(four.reshape(-1, 64), rows)[:5]
    return first, np.stack(rows)


def _states(next_states: NDArray[np.int16], rows: list[NDArray[np.int16]]) -> NDArray[np.int16]:
    """Returns the states before these, `(count, 64)` → `(count,)`, and adds their rows.

    The 64 continuation bytes lead from a state to those of its row.
    """
    different, number = np.unique(next_states, axis=0, return_inverse=True)
    begin = len(rows)
    # A row without characters is that of state 0.
    rows.extend(np.append(row, np.int16(NO_CHARACTER)) for row in different)
    states = (begin + np.arange(len(different))).astype(np.int16)
    states[~different.any(axis=1)] = NO_CHARACTER
    return states[number.reshape(-1)]
