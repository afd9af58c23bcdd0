"""Knows words that are one token, and equal words: what makes bulk text fast.

Both only save work: the merges would give the same ids.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gpt2_keras.tokenizer.graph.array_ops import ranges, taken
from gpt2_keras.tokenizer.graph.merge_tables import MergeTables

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


UNKNOWN = -1


class WordLookup:
    """Looks whole words up.

    Args:
        tables: The tables of the vocabulary.
    """

    def __init__(self, tables: MergeTables) -> None:
        symbols = [*range(256), *tables.whole.tolist()] if tables.is_ordered else []
        token_ids = tables.token_ids[symbols].tolist() if symbols else []
        table = build_word_table([tables.token_bytes[i] for i in token_ids], token_ids)
        bits = 8 * np.arange(HALF + 1)
        lowest = np.array([(1 << int(n)) - 1 for n in bits], np.uint64)
        sizes = np.arange(LONGEST + 2)  # the last one: longer words, which no token is
        second = lowest[np.clip(sizes - HALF, 0, HALF - 1)]
        highest = np.where(sizes > LONGEST, 255, sizes).astype(np.uint64) << np.uint64(56)
        masks = np.stack([lowest[np.minimum(sizes, HALF)], second, highest], 1)
        with tf.init_scope():
            self._rows = tf.constant(table.rows)
            self._masks = tf.constant(masks)
            self._chunk_mask = tf.constant(lowest)
            self._chunk_factors = tf.constant(_odd_numbers())
        self._shift = 64 - table.bits

    def __call__(self, eights: tf.Tensor, at: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
        """Looks each word up.

        Args:
            eights: uint64 tensor `(size / 8,)` of the bytes, with 16 bytes more
                than the words need.
            at: int32 tensor `(words,)`, the first byte of each.
            sizes: int32 tensor `(words,)`, number of bytes of each, at least 1.

        Returns:
            The ids, int32 `(words,)`, `UNKNOWN` where a word may be several tokens.
        """
        size = tf.minimum(sizes, LONGEST + 1)
        low, high = _read(eights, at, 2)
        first_mask, second_mask, size_byte = tf.unstack(taken(self._masks, size), axis=1)
        first = tf.bitwise.bitwise_and(low, first_mask)
        second = tf.bitwise.bitwise_and(high, second_mask)
        second = tf.bitwise.bitwise_or(second, size_byte)
        mixed = tf.bitwise.bitwise_xor(
            first * _unsigned(FACTORS[0]), second * _unsigned(FACTORS[1])
        )
        slot = tf.cast(tf.bitwise.right_shift(mixed, _unsigned(self._shift)), tf.int32)
        its_first, its_second, token_ids = tf.unstack(taken(self._rows, slot), axis=1)
        is_equal = tf.equal(its_first, first) & tf.equal(its_second, second)
        return tf.where(is_equal, tf.cast(token_ids, tf.int32), UNKNOWN)

    def find_equal(
        self, eights: tf.Tensor, at: tf.Tensor, sizes: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds words that occur again.

        Args:
            eights: As above.
            at: As above.
            sizes: As above.

        Returns:
            The first occurrence of each different word, int32 `(different,)`,
            and which of these each word is, int32 `(words,)`.
        """
        num_chunks = (sizes + (HALF - 1)) // HALF
        chunk, word = ranges(tf.zeros_like(at), num_chunks)
        rest = taken(sizes, word) - chunk * HALF
        (value,) = _read(eights, taken(at, word) + chunk * HALF, 1)
        value = tf.bitwise.bitwise_and(value, taken(self._chunk_mask, tf.minimum(rest, HALF)))
        factor = taken(self._chunk_factors, chunk % self._chunk_factors.shape[0])
        mixed = tf.bitcast(value * factor, tf.int64)
        hashes = tf.math.unsorted_segment_sum(mixed, word, tf.size(at)) + tf.cast(sizes, tf.int64)

        different, which = tf.unique(hashes)
        every = tf.range(tf.size(at))
        firsts = tf.math.unsorted_segment_min(every, which, tf.size(different))
        first_of = taken(firsts, which)
        begins = tf.cumsum(num_chunks, exclusive=True)
        same_chunk = taken(taken(begins, first_of), word) + chunk
        same_chunk = tf.minimum(same_chunk, tf.size(value) - 1)
        # Different words with one hash: then no words count as equal.
        is_right = tf.reduce_all(tf.equal(taken(sizes, first_of), sizes)) & tf.reduce_all(
            tf.equal(taken(value, same_chunk), value)
        )
        return tf.cond(is_right, lambda: (firsts, which), lambda: (every, every))


def eights_of(text: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the bytes of a string by eights, the first lowest, and zeros behind them.

    Args:
        text: String scalar.
        size: int32 scalar, its number of bytes.

    Returns:
        uint64 tensor `(size // 8 + 4,)`.
    """
    eights = tf.io.decode_raw(text, tf.int64, fixed_length=(size // HALF + 4) * HALF)
    return tf.bitcast(eights, tf.uint64)


def _read(eights: tf.Tensor, at: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Returns `count` times 8 bytes from each place on, uint64."""
    index = tf.bitwise.right_shift(at, 3)
    shift = tf.cast((at - index * HALF) * 8, tf.uint64)
    # In two steps, for a shift by all 64 bits is not defined.
    back = _unsigned(56) - shift
    rows = tf.stack([eights[k : k - count or None] for k in range(count + 1)], 1)
    pieces = tf.unstack(taken(rows, index), axis=1)
    values = []
    for low, high in itertools.pairwise(pieces):
        high = tf.bitwise.left_shift(tf.bitwise.left_shift(high, back), _unsigned(8))
        values.append(tf.bitwise.bitwise_or(tf.bitwise.right_shift(low, shift), high))
    return values


def _odd_numbers() -> np.ndarray:
    """Returns factors of the chunks of a word, uint64: random and odd."""
    random = np.random.default_rng(0).integers(0, 1 << 64, 256, np.uint64)
    return random | np.uint64(1)


def _unsigned(value: int) -> tf.Tensor:
    return tf.constant(np.uint64(value))
