"""Byte-pair merges of many words at once, exactly as one merge at a time would go.

All words lie behind one another in one array of symbols, a separator behind
each. In a round every word merges its pair of least rank, at all places. Where
the tables are ordered, a pair merges as soon as it is *safe*: less than its
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
        self._hash_factor = tables.hash_factor()
        self._last_cell = len(tables.cells) - 1
        with tf.init_scope():
            self._row_starts = tf.constant(tables.row_starts)
            self._columns = tf.constant(tables.columns)
            self._cells = tf.constant(tables.cells)
            self._symbol_of_merge = tf.constant(tables.symbol_of_merge)
            self._left_bounds = tf.constant(tables.left_bounds)
            self._right_bounds = tf.constant(tables.right_bounds)

    def __call__(self, symbols: tf.Tensor) -> tf.Tensor:
        """Merges each word until nothing in it merges.

        Args:
            symbols: int32 tensor `(size,)` of bytes and separators, the last
                one a separator.

        Returns:
            int32 tensor `(new_size,)` of symbols, with the same separators.
        """
        symbols, _ = tf.while_loop(
            lambda _, goes_on: goes_on,
            lambda symbols, _: self._round(symbols),
            (symbols, tf.constant(True)),
            shape_invariants=(tf.TensorShape([None]), tf.TensorShape([])),
        )
        return symbols

    def _round(self, symbols: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges once; returns the symbols, and whether anything merged."""
        left, right = symbols[:-1], symbols[1:]  # both (pairs,)
        merges = self._find_merges(left, right)
        if self.is_ordered:
            chosen = self._safe(left, right, merges)
            chosen = tf.cond(
                tf.reduce_any(chosen), lambda: chosen, lambda: self._least(symbols, merges)
            )
        else:
            chosen = self._least(symbols, merges)
        made = merges
        if not self.is_ordered:
            made = tf.gather(self._symbol_of_merge, tf.where(chosen, merges, 0))
        stays = tf.concat([[True], ~chosen], 0)
        changed = tf.concat([tf.where(chosen, made, left), symbols[-1:]], 0)
        return tf.gather(changed, positions(stays)), tf.reduce_any(chosen)

    def _find_merges(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """Returns the merge of each pair, or `NEVER`; see `MergeTables`."""
        cell = tf.gather(self._row_starts, left) + tf.gather(self._columns, right)
        found = tf.gather(self._cells, tf.minimum(cell, self._last_cell))
        found = found - tf.cast(left, tf.int64) * (1 << 32)
        return tf.cast(tf.where((found >= 0) & (found < NEVER), found, NEVER), tf.int32)

    def _safe(self, left: tf.Tensor, right: tf.Tensor, merges: tf.Tensor) -> tf.Tensor:
        """Returns which pairs nothing can come before."""
        slot = (left + right * self._hash_factor) % BOUND_SLOTS
        before = shifted(tf.gather(self._left_bounds, slot), 1, NEVER)
        after = shifted(tf.gather(self._right_bounds, slot), -1, NEVER)
        least = tf.minimum(shifted(merges, 1, NEVER), shifted(merges, -1, NEVER))
        # A merge of itself comes before only in a run such as aaaa: see `_every_other`.
        chosen = (merges < tf.minimum(before, after)) & (merges <= least)
        return _every_other(chosen, merges)

    def _least(self, symbols: tf.Tensor, merges: tf.Tensor) -> tf.Tensor:
        """Returns which pairs have the least rank of their word."""
        is_end = symbols == self.separator
        word = tf.cumsum(tf.cast(is_end, tf.int32))[:-1]  # a separator begins the next word
        words = tf.reduce_sum(tf.cast(is_end, tf.int32)) + 1
        least = tf.math.unsorted_segment_min(merges, word, words)
        chosen = (merges == tf.gather(least, word)) & (merges < NEVER)
        return _every_other(chosen, merges)


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
