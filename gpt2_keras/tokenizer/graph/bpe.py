"""Byte-pair merges of many words at once, exactly as one merge at a time would go.

All words lie behind one another in one array of symbols, a separator behind
each. In a round every word merges its pair of least rank, at all places. Where
the tables are ordered, so does every pair that is *safe*: less than its
neighbours, and less than whatever could still come to stand beside it. No
merge before it could then touch its parts, so it commutes with those before.
"""

import numpy as np
import tensorflow as tf

from gpt2_keras.tokenizer.graph.array_ops import positions, ranges, replaced, shifted, taken
from gpt2_keras.tokenizer.graph.merge_tables import BOUND_SLOTS, NEVER, MergeTables


class Merger:
    """Merges symbols until none merge.

    Args:
        tables: The tables of the vocabulary.
    """

    def __init__(self, tables: MergeTables) -> None:
        self._separator = tables.separator
        self._is_ordered = tables.is_ordered
        self._bound_step = tables.bound_step
        self._hash_factor = tables.hash_factor
        with tf.init_scope():
            self._row_starts = tf.constant(tables.row_starts)
            self._columns = tf.constant(tables.columns)
            self._cells = tf.constant(tables.cells)
            self._left_of_merge = tf.constant(tables.left_of_merge)
            self._symbol_of_merge = tf.constant(tables.symbol_of_merge)
            self._bounds = tf.constant(np.stack([tables.left_bounds, tables.right_bounds], 1))

    def __call__(
        self, symbols: tf.Tensor, at: tf.Tensor, sizes: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Merges each word until nothing in it merges.

        Args:
            symbols: int32 tensor `(size,)` that holds the words, and one symbol
                behind the last.
            at: int32 tensor `(words,)`, the first symbol of each word.
            sizes: int32 tensor `(words,)`, number of symbols of each word.

        Returns:
            Symbols, int32 `(new_size,)`, with the words in any order; and by
            word where its symbols begin and how many they are, both int32
            `(words,)`.
        """
        index, word = ranges(at, sizes + 1)
        ends = tf.cumsum(sizes + 1) - 1
        separators = tf.fill(tf.shape(ends), self._separator)
        symbols = replaced(taken(symbols, index), ends, separators)
        num_words = tf.size(at)
        nothing = tf.zeros([0], tf.int32)
        *_, merged, merged_word = tf.while_loop(
            lambda symbols, *_: tf.size(symbols) > 0,
            lambda *state: self._round(num_words, *state),
            (symbols, word, nothing, nothing),
            shape_invariants=(tf.TensorShape([None]),) * 4,
        )
        ends = positions(merged == self._separator)  # (words,), in the order of finishing
        starts = shifted(ends + 1, 1, 0)
        word = tf.expand_dims(tf.gather(merged_word, ends), 1)
        shape = tf.reshape(num_words, [1])
        return (
            merged,
            tf.scatter_nd(word, starts, shape),
            tf.scatter_nd(word, ends - starts, shape),
        )

    def _round(
        self,
        num_words: tf.Tensor,
        symbols: tf.Tensor,
        word: tf.Tensor,
        merged: tf.Tensor,
        merged_word: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """Merges once in each word, and moves the words in which nothing merges to the result.

        Args:
            num_words: int32 scalar.
            symbols: int32 `(size,)`, the unfinished words, each with its separator.
            word: int32 `(size,)`, the word of each symbol.
            merged: int32, the symbols of the finished words.
            merged_word: int32, the word of each of these.
        """
        merges = self._find_merges(symbols)
        least = tf.gather(tf.math.unsorted_segment_min(merges, word, num_words), word)
        before = shifted(merges, 1, NEVER)
        if self._is_ordered:
            chosen = self._least_and_safe(symbols, merges, before, least)
            made = merges
        else:
            chosen = (merges == least) & (merges < NEVER)
            made = tf.gather(self._symbol_of_merge, tf.where(chosen, merges, 0))
        chosen = _every_other(chosen, merges, before)
        changed = tf.where(chosen, made, symbols)

        goes_on = least < NEVER
        stays = positions(goes_on & ~shifted(chosen, 1, False))
        finished = positions(~goes_on)
        return (
            tf.gather(changed, stays),
            tf.gather(word, stays),
            tf.concat([merged, tf.gather(symbols, finished)], 0),
            tf.concat([merged_word, tf.gather(word, finished)], 0),
        )

    def _find_merges(self, symbols: tf.Tensor) -> tf.Tensor:
        """Returns the merge of each symbol and the next, or `NEVER`; see `MergeTables`."""
        column = tf.gather(self._columns, symbols)
        cell = tf.gather(self._row_starts, symbols) + shifted(column, -1, 0)
        found = tf.gather(self._cells, cell)
        return tf.where(tf.gather(self._left_of_merge, found) == symbols, found, NEVER)

    def _least_and_safe(
        self, symbols: tf.Tensor, merges: tf.Tensor, before: tf.Tensor, least: tf.Tensor
    ) -> tf.Tensor:
        """Returns which pairs are the least of their word, or nothing can come before."""
        is_end = tf.equal(symbols, self._separator)
        right = shifted(symbols, -1, self._separator)
        slot = (symbols + right * self._hash_factor) % BOUND_SLOTS
        bounds = tf.cast(tf.gather(self._bounds, slot), tf.int32) * self._bound_step
        left_bound, right_bound = tf.unstack(bounds, axis=1)
        # What can still come to stand over the pair before, and over the pair behind.
        left = shifted(tf.where(is_end, NEVER, left_bound), 1, NEVER)
        right = shifted(tf.where(shifted(is_end, -1, True), NEVER, right_bound), -1, NEVER)
        # A merge of itself comes before only in a run such as aaaa: see `_every_other`.
        behind = shifted(merges, -1, NEVER)
        is_safe = (merges < tf.minimum(left, right)) & (merges <= tf.minimum(before, behind))
        return (is_safe | tf.equal(merges, least)) & (merges < NEVER)


def _every_other(chosen: tf.Tensor, merges: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    """Returns the chosen pairs without those that overlap: of aaaa the first and the third.

    A run counts from its first pair; if that one is not chosen, none is.
    """
    again = positions((merges == before) & (merges < NEVER))
    return tf.cond(
        tf.size(again) > 0, lambda: _alternating(chosen, again), lambda: tf.identity(chosen)
    )


def _alternating(chosen: tf.Tensor, again: tf.Tensor) -> tf.Tensor:
    """Does so, given the pairs equal to the one before."""
    is_new = again != shifted(again, 1, -1) + 1
    runs = tf.gather(again, positions(is_new)) - 1  # the first pair of each run
    run = tf.gather(runs, tf.cumsum(tf.cast(is_new, tf.int32)) - 1)
    stays = tf.gather(chosen, again) & tf.gather(chosen, run) & ((again - run) % 2 == 0)
    return replaced(chosen, again, stays)
