"""Pre-tokens that are one token, and equal pre-tokens, found by their bytes.

This makes bulk text fast and changes no id: the merges would give the same.
Bytes are compared as 8-byte words, the first byte lowest.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gpt2_keras.tokenizer.graph.array_ops import concat_ranges, gather
from gpt2_keras.tokenizer.graph.merge_tables import MergeTables

UNKNOWN = -1  # the id of a pre-token that may be several tokens
MAX_BYTES = 15  # 16 less one for the number of bytes
WORD_BYTES = 8  # bytes in an unsigned integer of 64 bits
# Odd, with bits all over: 2⁶⁴ divided by the golden ratio, and by its square.
FACTORS = (0x9E3779B97F4A7C15, 0x61C8864680B583EB)


class PreTokenLookup:
    """Finds pre-tokens that are one token, and pre-tokens that are equal.

    Args:
        tables: The tables of the vocabulary.
    """

    def __init__(self, tables: MergeTables) -> None:
        symbols = [*range(256), *tables.whole.tolist()] if tables.symbols.is_ordered else []
        token_ids = tables.symbols.token_ids[symbols].tolist() if symbols else []
        table = build_token_table([tables.symbols.token_bytes[i] for i in token_ids], token_ids)
        bits = 8 * np.arange(WORD_BYTES + 1)
        lowest = np.array([(1 << int(n)) - 1 for n in bits], np.uint64)
        sizes = np.arange(MAX_BYTES + 2)  # the last one: longer pre-tokens, of which none is known
        second = lowest[np.clip(sizes - WORD_BYTES, 0, WORD_BYTES - 1)]
        highest = np.where(sizes > MAX_BYTES, 255, sizes).astype(np.uint64) << np.uint64(56)
        masks = np.stack([lowest[np.minimum(sizes, WORD_BYTES)], second, highest], 1)
        with tf.init_scope():
            self._rows = tf.constant(table.rows)
            self._masks = tf.constant(masks)
            self._word_mask = tf.constant(lowest)
            self._word_factors = tf.constant(_random_odd_numbers())
        self._shift = 64 - table.bits

    def __call__(self, words: tf.Tensor, starts: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
        """Looks pre-tokens up.

        Args:
            words: uint64 tensor `(size // 8 + 4,)`, the bytes, as `to_words` gives them.
            starts: int32 tensor `(count,)`, the first byte of each pre-token.
            sizes: int32 tensor `(count,)`, number of bytes of each, at least 1.

        Returns:
            The ids, int32 `(count,)`, `UNKNOWN` where a pre-token may be several tokens.
        """
        size = tf.minimum(sizes, MAX_BYTES + 1)
        low, high = _read_words(words, starts, 2)
        first_mask, second_mask, size_byte = tf.unstack(gather(self._masks, size), axis=1)
        first = tf.bitwise.bitwise_and(low, first_mask)
        second = tf.bitwise.bitwise_and(high, second_mask)
        second = tf.bitwise.bitwise_or(second, size_byte)
        mixed = tf.bitwise.bitwise_xor(
            first * _unsigned(FACTORS[0]), second * _unsigned(FACTORS[1])
        )
        slot = tf.cast(tf.bitwise.right_shift(mixed, _unsigned(self._shift)), tf.int32)
        found_first, found_second, token_ids = tf.unstack(gather(self._rows, slot), axis=1)
        is_equal = tf.equal(found_first, first) & tf.equal(found_second, second)
        return tf.where(is_equal, tf.cast(token_ids, tf.int32), UNKNOWN)

    def find_equal(
        self, words: tf.Tensor, starts: tf.Tensor, sizes: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds pre-tokens that occur again.

        Args:
            words, starts, sizes: As above.

        Returns:
            The index of the first occurrence of each different pre-token, int32
            `(different,)`, and by pre-token which of these it equals, int32
            `(count,)`.
        """
        num_words = (sizes + (WORD_BYTES - 1)) // WORD_BYTES
        index, pre_token = concat_ranges(tf.zeros_like(starts), num_words)
        rest = gather(sizes, pre_token) - index * WORD_BYTES
        (value,) = _read_words(words, gather(starts, pre_token) + index * WORD_BYTES, 1)
        value = tf.bitwise.bitwise_and(value, gather(self._word_mask, tf.minimum(rest, WORD_BYTES)))
        factor = gather(self._word_factors, index % self._word_factors.shape[0])
        mixed = tf.bitcast(value * factor, tf.int64)
        hashes = tf.math.unsorted_segment_sum(mixed, pre_token, tf.size(starts))
        hashes += tf.cast(sizes, tf.int64)

        different, which = tf.unique(hashes)
        every = tf.range(tf.size(starts))
        firsts = tf.math.unsorted_segment_min(every, which, tf.size(different))
        first_of = gather(firsts, which)
        first_words = tf.cumsum(num_words, exclusive=True)
        same_word = gather(gather(first_words, first_of), pre_token) + index
        same_word = tf.minimum(same_word, tf.size(value) - 1)
        # Different pre-tokens with one hash: then none count as equal.
        is_right = tf.reduce_all(tf.equal(gather(sizes, first_of), sizes)) & tf.reduce_all(
            tf.equal(gather(value, same_word), value)
        )
        return tf.cond(is_right, lambda: (firsts, which), lambda: (every, every))


def to_words(text: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the bytes of a string as 8-byte words, the first byte lowest, and zeros.

    Args:
        text: String scalar.
        size: int32 scalar, its number of bytes.

    Returns:
        uint64 tensor `(size // 8 + 4,)`, with at least 16 bytes after the string.
    """
    words = tf.io.decode_raw(text, tf.int64, fixed_length=(size // WORD_BYTES + 4) * WORD_BYTES)
    return tf.bitcast(words, tf.uint64)


def _read_words(words: tf.Tensor, starts: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Returns the `count` 8-byte words from each byte on, uint64 of the shape of `starts` each."""
    index = tf.bitwise.right_shift(starts, 3)
    shift = tf.cast((starts - index * WORD_BYTES) * 8, tf.uint64)
    # In two steps, for a shift by all 64 bits is not defined.
    back = _unsigned(56) - shift
    rows = tf.stack([words[k : k - count or None] for k in range(count + 1)], 1)
    aligned = tf.unstack(gather(rows, index), axis=1)
    values = []
    for low, high in itertools.pairwise(aligned):
        high = tf.bitwise.left_shift(tf.bitwise.left_shift(high, back), _unsigned(8))
        values.append(tf.bitwise.bitwise_or(tf.bitwise.right_shift(low, shift), high))
    return values


@dataclasses.dataclass(frozen=True)
class TokenTable:
    """The tokens of up to `MAX_BYTES` bytes by the hash of their bytes.

    Of tokens with one hash it has the first: a pre-token that is not in it is
    merged like others, so only time is lost.

    Args:
        rows: uint64 `(2 ** bits, 3)`: the first 8 bytes, the first byte lowest;
            the bytes after them, with their number as the highest byte; the id.
        bits: Number of bits of a hash.
    """

    rows: NDArray[np.uint64]
    bits: int


def build_token_table(tokens: Sequence[bytes], token_ids: Sequence[int]) -> TokenTable:
    """Builds the table.

    Args:
        tokens: Bytes of tokens that encode to themselves, the frequent ones
            first. Those longer than `MAX_BYTES` are left out.
        token_ids: Their ids.

    Example:
        >>> table = build_token_table([b"a", b"the"], [97, 256])
        >>> sorted(set(table.rows[:, 2].tolist()))
        [0, 97, 256]
    """
    chosen = [
        (token, token_id)
        for token, token_id in zip(tokens, token_ids, strict=True)
        if len(token) <= MAX_BYTES
    ]
    bits = max(4, (4 * len(chosen)).bit_length() - 1)
    padded = b"".join(token.ljust(MAX_BYTES, b"\0") + bytes([len(token)]) for token, _ in chosen)
    words = np.frombuffer(padded, "<u8").reshape(-1, 2)
    slots = (words[:, 0] * np.uint64(FACTORS[0])) ^ (words[:, 1] * np.uint64(FACTORS[1]))
    slots = slots >> np.uint64(64 - bits)
    _, kept = np.unique(slots, return_index=True)  # the first of each slot
    rows = np.zeros((1 << bits, 3), np.uint64)
    rows[slots[kept], :2] = words[kept]
    rows[slots[kept], 2] = np.array([token_id for _, token_id in chosen], np.uint64)[kept]
    return TokenTable(rows, bits)


def _random_odd_numbers() -> np.ndarray:
    """Returns the factors of the words of a pre-token in its hash, uint64 `(256,)`."""
    random = np.random.default_rng(0).integers(0, 1 << 64, 256, np.uint64)
    return random | np.uint64(1)


def _unsigned(value: int) -> tf.Tensor:
    return tf.constant(np.uint64(value))
