"""An automaton that reads a character of several bytes and says its class.

Its table takes a state and a byte to the next state. State 0 is no character;
state `1 + c` a complete character of class `c`. Both stay what they are,
whatever follows, so that three steps behind the first byte suffice for all.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from gpt2_keras.tokenizer.unicode_classes import UNICODE_VERSION, character_classes

COLUMNS = 65  # the 64 bytes that can go on a character, and one for all others
FIRST_CONTINUATION = 0x80
NO_CHARACTER = 0
NUM_FINAL = 5  # no character, and four classes


@functools.cache
def utf8_automaton(
    unicode_version: str = UNICODE_VERSION,
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Returns the automaton of valid UTF-8.

    Valid is what Python's decoder takes: neither overlong forms, nor
    surrogates, nor what is above U+10FFFF. Source: table 3-7 of the Unicode
    Standard, "Well-Formed UTF-8 Byte Sequences".

    Args:
        unicode_version: Version of Unicode, one for which there is a table.

    Returns:
        `first`, int16 `(256,)`, the state behind a first byte of several; and
        `following`, int16 `(states, COLUMNS)`, that behind a state and a byte,
        the byte less `FIRST_CONTINUATION`.

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
    # Padded, for the planes end within the bytes behind F4.
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
    """Returns the states that the 64 bytes take to these, `(count, 64)`; adds the new ones."""
    different, number = np.unique(next_states, axis=0, return_inverse=True)
    begin = len(rows)
    # A row without characters is that of state 0.
    rows.extend(np.append(row, np.int16(NO_CHARACTER)) for row in different)
    states = (begin + np.arange(len(different))).astype(np.int16)
    states[~different.any(axis=1)] = NO_CHARACTER
    return states[number.reshape(-1)]
