"""Byte-pair merges of many words at once, exactly as one merge at a time would go.

All words lie behind one another in one array of symbols, a separator behind
each. In a round every word merges its pair of least rank, at all places. Where
the tables are ordered, so does every pair that is *safe*: less than its
neighbours, and less than whatever could still come to stand beside it. No
merge before it could then touch its parts, so it commutes with those before.
"""

import tensorflow as tf

from gpt2_keras.tokenizer.flat_arrays import positions, replaced, shifted
from gpt2_keras.tokenizer.merge_tables import BOUND_SLOTS, NEVER, MergeTables


class Merger:
    """Merges symbols until none merge.

    Args:
        tables: The tables of the vocabulary.
    """

    def __init__(self, tables: MergeTables) -> None:
        self.separator = tables.separator
        self.is_ordered = tables.is_ordered
        self._bound_step = tables.bound_step
        self._hash_factor = tables.hash_factor
        self._last_cell = len(tables.cells) - 1
        with tf.init_scope():
            self._row_starts = tf.constant(tables.row_starts)
            self._columns = tf.constant(tables.columns)
            self._cells = tf.constant(tables.cells)
            self._symbol_of_merge = tf.constant(tables.symbol_of_merge)
            self._left_bounds = tf.constant(tables.left_bounds)
            self._right_bounds = tf.constant(tables.right_bounds)

    def __call__(self, symbols: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Merges each word until nothing in it merges.

        Args:
            symbols: int32 tensor `(size,)` of bytes and separators, the last
                one a separator if there is any.

        Returns:
            Symbols, int32 `(new_size,)`, with the words in any order; and by
            word where its symbols begin and how many they are, both int32
            `(words,)`.
        """
        num_words = tf.reduce_sum(tf.cast(symbols == self.separator, tf.int32))
        nothing = tf.zeros([0], tf.int32)
        *_, merged, order = tf.while_loop(
            lambda symbols, *_: tf.size(symbols) > 0,
            self._round,
            (symbols, tf.range(num_words), nothing, nothing),
            shape_invariants=(tf.TensorShape([None]),) * 4,
        )
        ends = positions(merged == self.separator)  # (words,), in the order of `order`
        starts = tf.concat([[0], ends + 1], 0)[:-1]
        order = tf.expand_dims(order, 1)
        shape = tf.reshape(num_words, [1])
        return (
            merged,
            tf.scatter_nd(order, starts, shape),
            tf.scatter_nd(order, ends - starts, shape),
        )

    def _round(
        self, symbols: tf.Tensor, words: tf.Tensor, merged: tf.Tensor, order: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Merges once in each word, and moves the words in which nothing merges to the result.

        Args:
            symbols: int32 `(size,)`, the unfinished words, each with its separator.
            words: int32 `(unfinished,)`, their numbers.
            merged: int32, the finished words.
            order: int32, their numbers.
        """
        is_end = symbols == self.separator
        word = tf.cumsum(tf.cast(is_end, tf.int32), exclusive=True)
        merges = self._find_merges(symbols, shifted(symbols, -1, self.separator))
        least = tf.math.unsorted_segment_min(merges, word, tf.shape(words)[0])
        least_of_word = tf.gather(least, word)  # (size,)
        chosen = merges == least_of_word
        if self.is_ordered:
            chosen = chosen | self._safe(symbols, is_end, merges)
        chosen = _every_other(chosen & (merges < NEVER), merges)
        made = merges
        if not self.is_ordered:
            made = tf.gather(self._symbol_of_merge, tf.where(chosen, merges, 0))
        changed = tf.where(chosen, made, symbols)

        goes_on = least_of_word < NEVER
        stays = positions(goes_on & ~shifted(chosen, 1, False))
        finished = least == NEVER
        return (
            tf.gather(changed, stays),
            tf.gather(words, positions(~finished)),
            tf.concat([merged, tf.gather(symbols, positions(~goes_on))], 0),
            tf.concat([order, tf.gather(words, positions(finished))], 0),
        )

    def _find_merges(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """Returns the merge of each pair, or `NEVER`; see `MergeTables`."""
        cell = tf.gather(self._row_starts, left) + tf.gather(self._columns, right)
        found = tf.gather(self._cells, tf.minimum(cell, self._last_cell))
        found = found - tf.cast(left, tf.int64) * (1 << 32)
        return tf.cast(tf.where((found >= 0) & (found < NEVER), found, NEVER), tf.int32)

    def _safe(self, symbols: tf.Tensor, is_end: tf.Tensor, merges: tf.Tensor) -> tf.Tensor:
        """Returns which pairs nothing can come before."""
        right = shifted(symbols, -1, self.separator)
        slot = (symbols + right * self._hash_factor) % BOUND_SLOTS
        left_bounds = tf.cast(tf.gather(self._left_bounds, slot), tf.int32) * self._bound_step
        right_bounds = tf.cast(tf.gather(self._right_bounds, slot), tf.int32) * self._bound_step
        left_bounds = tf.where(is_end, NEVER, left_bounds)
        right_bounds = tf.where(right == self.separator, NEVER, right_bounds)
        # A merge of itself comes before only in a run such as aaaa: see `_every_other`.
        return (
            (merges < shifted(left_bounds, 1, NEVER))
            & (merges < shifted(right_bounds, -1, NEVER))
            & (merges <= shifted(merges, 1, NEVER))
            & (merges <= shifted(merges, -1, NEVER))
        )


def _every_other(chosen: tf.Tensor, merges: tf.Tensor) -> tf.Tensor:
    """Returns the chosen pairs without those that overlap: of aaaa the first and the third.

    A run counts from its first pair; if that one is not chosen, none is.
    """
    again = positions((merges == shifted(merges, 1, NEVER)) & (merges < NEVER))
    is_new = again != _one_before(again) + 1
    runs = tf.gather(again, positions(is_new)) - 1  # the first pair of each run
    run = tf.gather(runs, tf.cumsum(tf.cast(is_new, tf.int32)) - 1)
    stays = tf.gather(chosen, again) & tf.gather(chosen, run) & ((again - run) % 2 == 0)
    return replaced(chosen, again, stays)


def _one_before(at: tf.Tensor) -> tf.Tensor:
    """Returns the position before each, -2 before the first."""
    return tf.concat([[-2], at], 0)[:-1]
