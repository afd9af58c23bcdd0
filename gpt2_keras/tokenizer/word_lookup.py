"""Knows words that are one token, and equal words: what makes bulk text fast.

Both only save work: the merges would give the same ids.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from gpt2_keras.tokenizer.flat_arrays import positions, replaced
from gpt2_keras.tokenizer.merge_tables import MergeTables
from gpt2_keras.tokenizer.word_tables import FACTORS, HALF, LONGEST, WordTable, build_word_table

UNKNOWN = -1


class Words(NamedTuple):
    """Words by their bytes.

    Args:
        at: int32 `(words,)`, their first bytes.
        sizes: int32 `(words,)`, number of bytes.
        first: uint64 `(words,)`, the first 8 bytes.
        second: uint64 `(words,)`, the bytes behind them up to the 16th.
    """

    at: tf.Tensor
    sizes: tf.Tensor
    first: tf.Tensor
    second: tf.Tensor


class WordLookup:
    """Looks whole words up.

    Args:
        tables: The tables of the vocabulary.
    """

    def __init__(self, tables: MergeTables) -> None:
        symbols = [*range(256), *tables.whole.tolist()] if tables.is_ordered else []
        token_ids = tables.token_ids[symbols].tolist() if symbols else []
        tokens = [tables.token_bytes[token_id] for token_id in token_ids]
        short = build_word_table(tokens, token_ids, 1, HALF)
        long = build_word_table(tokens, token_ids, HALF + 1, LONGEST)
        with tf.init_scope():
            self._short, self._long = _Table(short), _Table(long)

    def __call__(
        self,
        data: tf.Tensor,
        at: tf.Tensor,
        sizes: tf.Tensor,
        given: tuple[tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, Words]:
        """Looks each word up.

        Args:
            data: uint8 tensor `(size,)` of bytes.
            at: int32 tensor `(words,)`, the first byte of each.
            sizes: int32 tensor `(words,)`, number of bytes of each.
            given: Words whose ids are known, and these ids, both int32 `(given,)`.

        Returns:
            The ids, int32 `(words,)`, `UNKNOWN` where a word may be several
            tokens; and those unknown words.
        """
        size = tf.shape(data)[0]
        padded = tf.concat([data, tf.zeros([4 * HALF - size % HALF], tf.uint8)], 0)
        eights = tf.bitcast(tf.reshape(padded, [-1, HALF]), tf.uint64)  # (size / 8,)
        first = _cut(_read(eights, at), tf.minimum(sizes, HALF))
        token_ids = self._short.find(first, None, first, sizes, HALF)
        token_ids = replaced(token_ids, *given)

        rest = positions(token_ids < 0)
        at, sizes = tf.gather(at, rest), tf.gather(sizes, rest)
        first = tf.gather(first, rest)
        behind = tf.minimum(tf.maximum(sizes - HALF, 0), HALF)
        second = tf.where(behind > 0, _cut(_read(eights, at + HALF), behind), 0)
        found = self._long.find(first, second, second, sizes - HALF, HALF)
        token_ids = replaced(token_ids, rest, found)

        unknown = positions(found < 0)
        words = Words(*(tf.gather(x, unknown) for x in (at, sizes, first, second)))
        return token_ids, words


class _Table:
    """A `WordTable` in TensorFlow."""

    def __init__(self, table: WordTable) -> None:
        self._first = tf.constant(table.first)
        self._second = tf.constant(table.second)
        self._token_ids = tf.constant(table.token_ids)
        self._shift = 64 - table.bits

    def find(
        self,
        first: tf.Tensor,
        second: tf.Tensor | None,
        last: tf.Tensor,
        last_size: tf.Tensor,
        most: int,
    ) -> tf.Tensor:
        """Returns the ids of the words with these bytes, `UNKNOWN` where there is none."""
        mixed = first * _unsigned(FACTORS[0])
        if second is not None:
            mixed = tf.bitwise.bitwise_xor(mixed, second * _unsigned(FACTORS[1]))
        slot = tf.cast(tf.bitwise.right_shift(mixed, _unsigned(self._shift)), tf.int32)
        equal = tf.gather(self._first, slot) == first
        if second is not None:
            equal = equal & (tf.gather(self._second, slot) == second)
        # With a zero at its end a word looks like a shorter one.
        ends = tf.bitwise.right_shift(last, _bits(tf.clip_by_value(last_size - 1, 0, HALF - 1)))
        equal = equal & (last_size > 0) & (last_size <= most) & (ends > 0)
        return tf.where(equal, tf.gather(self._token_ids, slot), UNKNOWN)


def find_equal(words: Words) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds words that occur again.

    Returns:
        The first occurrence of each different word, int32 `(different,)`, and
        which of these each word is, int32 `(words,)`. Words of more than 16
        bytes all count as different.
    """
    mixed = tf.bitwise.bitwise_xor(
        words.first * _unsigned(FACTORS[0]), words.second * _unsigned(FACTORS[1])
    )
    own = tf.cast(words.at, tf.uint64) * _unsigned(FACTORS[0]) + _unsigned(1)
    is_long = words.sizes > LONGEST
    mixed = tf.bitwise.bitwise_xor(mixed, tf.where(is_long, own, tf.cast(words.sizes, tf.uint64)))
    different, which = tf.unique(tf.bitcast(mixed, tf.int64))
    every = tf.range(tf.shape(words.at)[0])
    firsts = tf.math.unsorted_segment_min(every, which, tf.shape(different)[0])
    first_of = tf.gather(firsts, which)
    is_same = ~is_long
    for x in (words.first, words.second, words.sizes):
        is_same = is_same & (tf.gather(x, first_of) == x)
    # Different words with one hash: then no words count as equal.
    is_right = tf.reduce_all(is_same | (every == first_of))
    return tf.cond(is_right, lambda: (firsts, which), lambda: (every, every))


def _read(eights: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """Returns the 8 bytes from each place on, uint64."""
    index, shift = at // HALF, _bits(at % HALF)
    low = tf.bitwise.right_shift(tf.gather(eights, index), shift)
    high = tf.gather(eights, index + 1)
    # In two steps, for a shift by all 64 bits is not defined.
    high = tf.bitwise.left_shift(high, _unsigned(56) - shift)
    return tf.bitwise.bitwise_or(low, tf.bitwise.left_shift(high, _unsigned(8)))


def _cut(value: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """Returns the first bytes of each value, the others zero."""
    shift = _bits(tf.minimum(HALF - sizes, HALF - 1))
    return tf.bitwise.right_shift(tf.bitwise.left_shift(value, shift), shift)


def _bits(num_bytes: tf.Tensor) -> tf.Tensor:
    """Returns the number of bits of some bytes, uint64."""
    return tf.cast(num_bytes * 8, tf.uint64)


def _unsigned(value: int) -> tf.Tensor:
    return tf.constant(np.uint64(value))
