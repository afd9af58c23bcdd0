"""Tokens of up to 16 bytes in hash tables, to know a whole word at one look."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST = 16
HALF = 8  # bytes in an unsigned integer of 64 bits
# Odd, with bits all over: 2⁶⁴ divided by the golden ratio, and by its square.
FACTORS = (0x9E3779B97F4A7C15, 0x61C8864680B583EB)


@dataclasses.dataclass(frozen=True)
class WordTable:
    """The tokens of some range of sizes by the hash of their bytes.

    Of tokens with the same hash it holds the first: a word that is not in it is
    merged like others, so nothing but time is lost.

    Args:
        first: uint64 `(2 ** bits,)`, the first 8 bytes, the first byte lowest.
        second: uint64 `(2 ** bits,)`, the bytes behind them.
        token_ids: int32 `(2 ** bits,)`, -1 where there is no token.
        bits: Number of bits of a hash.
    """

    first: NDArray[np.uint64]
    second: NDArray[np.uint64]
    token_ids: NDArray[np.int32]
    bits: int


def build_word_table(
    tokens: Sequence[bytes], token_ids: Sequence[int], least: int, most: int
) -> WordTable:
    """Builds the table of the tokens of some sizes.

    A token whose last byte is zero is left out: its bytes, as an integer, are
    those of a shorter one.

    Args:
        tokens: Bytes of tokens that encode to themselves.
        token_ids: Their ids.
        least: Least number of bytes, at least 1.
        most: Largest number of bytes, up to `LONGEST`.

    Example:
        >>> table = build_word_table([b"a", b"the"], [97, 256], 1, 8)
        >>> sorted(set(table.token_ids.tolist()))
        [-1, 97, 256]
    """
    chosen = [
        (token, token_id)
        for token, token_id in zip(tokens, token_ids, strict=True)
        if least <= len(token) <= most and token[-1]
    ]
    bits = max(4, (4 * len(chosen)).bit_length() - 1)
    padded = b"".join(token.ljust(LONGEST, b"\0") for token, _ in chosen)
    halves = np.frombuffer(padded, "<u8").reshape(-1, 2)
    slots = (halves[:, 0] * np.uint64(FACTORS[0])) ^ (halves[:, 1] * np.uint64(FACTORS[1]))
    slots = slots >> np.uint64(64 - bits)
    _, kept = np.unique(slots, return_index=True)  # the first of each slot
    table = WordTable(
        np.zeros(1 << bits, np.uint64),
        np.zeros(1 << bits, np.uint64),
        np.full(1 << bits, -1, np.int32),
        bits,
    )
    at = slots[kept].astype(np.int64)
    table.first[at], table.second[at] = halves[kept, 0], halves[kept, 1]
    table.token_ids[at] = np.array([token_id for _, token_id in chosen], np.int32)[kept]
    return table
