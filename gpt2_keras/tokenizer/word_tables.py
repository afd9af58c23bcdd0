"""Tokens of up to 15 bytes in a hash table, to know a whole word at one look."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST = 15  # bytes: 16 less one for their number
HALF = 8  # bytes in an unsigned integer of 64 bits
# Odd, with bits all over: 2⁶⁴ divided by the golden ratio, and by its square.
FACTORS = (0x9E3779B97F4A7C15, 0x61C8864680B583EB)


@dataclasses.dataclass(frozen=True)
class WordTable:
    """The tokens of up to `LONGEST` bytes by the hash of their bytes.

    Of tokens with the same hash it holds the first: a word that is not in it is
    merged like others, so nothing but time is lost.

    Args:
        rows: uint64 `(2 ** bits, 3)`: the first 8 bytes, the first byte lowest;
            the bytes behind them, with their number as the highest byte; the id.
        bits: Number of bits of a hash.
    """

    rows: NDArray[np.uint64]
    bits: int


def build_word_table(tokens: Sequence[bytes], token_ids: Sequence[int]) -> WordTable:
    """Builds the table.

    Args:
        tokens: Bytes of tokens that encode to themselves, of those that are
            frequent the first. Longer ones than `LONGEST` are left out.
        token_ids: Their ids.

    Example:
        >>> table = build_word_table([b"a", b"the"], [97, 256])
        >>> sorted(set(table.rows[:, 2].tolist()))
        [0, 97, 256]
    """
    chosen = [
        (token, token_id)
        for token, token_id in zip(tokens, token_ids, strict=True)
        if len(token) <= LONGEST
    ]
    bits = max(4, (4 * len(chosen)).bit_length() - 1)
    padded = b"".join(token.ljust(LONGEST, b"\0") + bytes([len(token)]) for token, _ in chosen)
    halves = np.frombuffer(padded, "<u8").reshape(-1, 2)
    slots = (halves[:, 0] * np.uint64(FACTORS[0])) ^ (halves[:, 1] * np.uint64(FACTORS[1]))
    slots = slots >> np.uint64(64 - bits)
    _, kept = np.unique(slots, return_index=True)  # the first of each slot
    rows = np.zeros((1 << bits, 3), np.uint64)
    rows[slots[kept], :2] = halves[kept]
    rows[slots[kept], 2] = np.array([token_id for _, token_id in chosen], np.uint64)[kept]
    return WordTable(rows, bits)
