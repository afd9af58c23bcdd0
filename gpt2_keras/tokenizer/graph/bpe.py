"""Byte-pair merges of many pre-tokens at once, equal to one merge at a time.

The symbols of all pre-tokens lie in one array, a separator after each
pre-token. In a round every pre-token merges its pair of least rank, wherever it
occurs. Where the tables are ordered, every pair that is *safe* merges too: its
rank is less than those of its neighbours, and less than that of any merge that
could still form at its sides. No merge of lower rank could then take its parts,
so it commutes with those of lower rank.
"""

import numpy as np
import tensorflow as tf

from gpt2_keras.tokenizer.graph.array_ops import (
    concat_ranges,
    gather,
    nonzero,
    scatter_update,
    shift,
)
from gpt2_keras.tokenizer.graph.merge_tables import BOUND_SLOTS, NEVER, MergeTables


class Merger:
    """Merges symbols until no pair merges.

    Args:
        tables: The tables of the vocabulary.
    """

    def __init__(self, tables: MergeTables) -> None:
        self._separator = tables.symbols.separator
        self._is_ordered = tables.symbols.is_ordered
        self._bound_step = tables.bound_step
        self._hash_factor = tables.hash_factor
        with tf.init_scope():
            self._row_starts = tf.constant(tables.row_starts)
            self._columns = tf.constant(tables.columns)
            self._cells = tf.constant(tables.cells)
            self._left_of_merge = tf.constant(tables.symbols.parts[:, 0])
            self._symbol_of_merge = tf.constant(tables.symbols.symbol_of_merge)
            self._bounds = tf.constant(np.stack([tables.left_bounds, tables.right_bounds], 1))

    def __call__(
        self, symbols: tf.Tensor, starts: tf.Tensor, sizes: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Merges each pre-token until nothing in it merges.

        Args:
            symbols: int32 tensor `(size,)` with the pre-tokens, and one symbol
                after the last of them.
            starts: int32 tensor `(count,)`, the first symbol of each pre-token.
            sizes: int32 tensor `(count,)`, number of symbols of each.

        Returns:
            Symbols, int32 `(new_size,)`, with the pre-tokens in any order; and
            by pre-token its first symbol and its number of symbols, both int32
            `(count,)`.
        """
        index, pre_token = concat_ranges(starts, sizes + 1)
        ends = tf.cumsum(sizes + 1) - 1
        separators = tf.fill(tf.shape(ends), self._separator)
        symbols = scatter_update(gather(symbols, index), ends, separators)
        count = tf.size(starts)
        nothing = tf.zeros([0], tf.int32)
        *_, merged, merged_pre_token = tf.while_loop(
            lambda symbols, *_: tf.size(symbols) > 0,
            lambda *state: self._round(count, *state),
            (symbols, pre_token, nothing, nothing),
            shape_invariants=(tf.TensorShape([None]),) * 4,
        )
        ends = nonzero(merged == self._separator)  # (count,), in the order of finishing
        starts = shift(ends + 1, 1, 0)
        pre_token = tf.expand_dims(tf.gather(merged_pre_token, ends), 1)
        shape = tf.reshape(count, [1])
        return (
            merged,
            tf.scatter_nd(pre_token, starts, shape),
            tf.scatter_nd(pre_token, ends - starts, shape),
        )

    def _round(
        self,
        count: tf.Tensor,
        symbols: tf.Tensor,
        pre_token: tf.Tensor,
        merged: tf.Tensor,
        merged_pre_token: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """Merges once in each pre-token, and moves those in which nothing merges to the result.

        Args:
            count: int32 scalar, the number of pre-tokens.
            symbols: int32 `(size,)`, the unfinished ones, each with its separator.
            pre_token: int32 `(size,)`, the pre-token of each symbol.
            merged: int32, the symbols of the finished ones.
            merged_pre_token: int32, the pre-token of each of these.
        """
        merges = self._find_merges(symbols)
        least = tf.gather(tf.math.unsorted_segment_min(merges, pre_token, count), pre_token)
        previous = shift(merges, 1, NEVER)
        if self._is_ordered:
            chosen = self._least_and_safe(symbols, merges, previous, least)
            made = merges
        else:
            chosen = (merges == least) & (merges < NEVER)
            made = tf.gather(self._symbol_of_merge, tf.where(chosen, merges, 0))
        chosen = _without_overlap(chosen, merges, previous)
        changed = tf.where(chosen, made, symbols)

        is_unfinished = least < NEVER
        kept = nonzero(is_unfinished & ~shift(chosen, 1, False))
        finished = nonzero(~is_unfinished)
        return (
            tf.gather(changed, kept),
            tf.gather(pre_token, kept),
            tf.concat([merged, tf.gather(symbols, finished)], 0),
            tf.concat([merged_pre_token, tf.gather(pre_token, finished)], 0),
        )

    def _find_merges(self, symbols: tf.Tensor) -> tf.Tensor:
        """Returns the merge of each symbol and the next, or `NEVER`; see `MergeTables`."""
        column = tf.gather(self._columns, symbols)
        cell = tf.gather(self._row_starts, symbols) + shift(column, -1, 0)
        found = tf.gather(self._cells, cell)
        return tf.where(tf.gather(self._left_of_merge, found) == symbols, found, NEVER)

    def _least_and_safe(
        self, symbols: tf.Tensor, merges: tf.Tensor, previous: tf.Tensor, least: tf.Tensor
    ) -> tf.Tensor:
        """Returns which pairs are the least of their pre-token, or safe."""
        is_end = tf.equal(symbols, self._separator)
        next_symbols = shift(symbols, -1, self._separator)
        slot = (symbols + next_symbols * self._hash_factor) % BOUND_SLOTS
        bounds = tf.cast(tf.gather(self._bounds, slot), tf.int32) * self._bound_step
        left_bound, right_bound = tf.unstack(bounds, axis=1)
        # The least merge that can still form with the symbol before the pair, and after it.
        left = shift(tf.where(is_end, NEVER, left_bound), 1, NEVER)
        right = shift(tf.where(shift(is_end, -1, True), NEVER, right_bound), -1, NEVER)
        # An equal merge overlaps only in a run such as aaaa: see `_without_overlap`.
        following = shift(merges, -1, NEVER)
        is_safe = (merges < tf.minimum(left, right)) & (merges <= tf.minimum(previous, following))
        return (is_safe | tf.equal(merges, least)) & (merges < NEVER)


def _without_overlap(chosen: tf.Tensor, merges: tf.Tensor, previous: tf.Tensor) -> tf.Tensor:
    """Returns the chosen pairs without those that overlap: of aaaa the first and the third.

    A run is counted from its first pair; if that one is not chosen, none is.
    """
    repeats = nonzero((merges == previous) & (merges < NEVER))
    return tf.cond(
        tf.size(repeats) > 0, lambda: _alternating(chosen, repeats), lambda: tf.identity(chosen)
    )


def _alternating(chosen: tf.Tensor, repeats: tf.Tensor) -> tf.Tensor:
    """Keeps every other pair of each run, given the pairs that equal the one before."""
    is_new = repeats != shift(repeats, 1, -1) + 1
    runs = tf.gather(repeats, nonzero(is_new)) - 1  # the first pair of each run
    run = tf.gather(runs, tf.cumsum(tf.cast(is_new, tf.int32)) - 1)
    kept = tf.gather(chosen, repeats) & tf.gather(chosen, run) & ((repeats - run) % 2 == 0)
    return scatter_update(chosen, repeats, kept)
