"""The merges of a byte-level BPE as tables of integers."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gpt2_keras.tokenizer.graph.symbols import NUM_BYTES, Symbols, build_symbols

NEVER = 1 << 30  # larger than any symbol: no merge
BOUND_SLOTS = 65521  # the largest prime below 2¹⁶: 128 KiB per table
NO_BOUND = 32767  # the largest int16


@dataclasses.dataclass(frozen=True)
class MergeTables:
    """The merges of pairs of symbols, by table lookup.

    Args:
        symbols: The symbols of the vocabulary.
        row_starts: int32 `(symbols + 1,)`, by left symbol.
        columns: int32 `(symbols + 1,)`, by right symbol.
        cells: int32. The merge of a pair, if it merges, is
            `cells[row_starts[left] + columns[right]]`. If the left symbol of
            that merge is another one, the pair does not merge.
        left_bounds: int16 `(BOUND_SLOTS,)`, hashed by a pair `(x, a)`: no
            symbol that ends with `x` merges with `a` into less than
            `bound_step` times this. Two pairs in one slot have the lower bound.
        right_bounds: int16 `(BOUND_SLOTS,)`, hashed by a pair `(b, y)`: no
            symbol that begins with `y` merges with `b` into less than that.
        whole: int32, the symbols of two and more bytes that encode to
            themselves. Empty where the symbols are not ordered.
    """

    symbols: Symbols
    row_starts: NDArray[np.int32]
    columns: NDArray[np.int32]
    cells: NDArray[np.int32]
    left_bounds: NDArray[np.int16]
    right_bounds: NDArray[np.int16]
    whole: NDArray[np.int32]

    @property
    def bound_step(self) -> int:
        """The unit of the bounds: in it, every symbol is less than the largest int16."""
        return self.symbols.separator // NO_BOUND + 1

    @property
    def hash_factor(self) -> int:
        """The factor of the right symbol in `bound_slot`: prime, and free of overflow."""
        return min(8191, (2**31 - 1) // (self.symbols.separator + 1) - 1)


def build_merge_tables(
    tokens: Sequence[bytes],
    merges: Sequence[tuple[int, int]],
    special_tokens: Mapping[str, int],
) -> MergeTables:
    """Builds the tables of a vocabulary.

    Of a pair that is listed twice the last rank counts, as in `Encoder` of
    openai/gpt-2 `src/encoder.py`. A merge of tokens that nothing makes counts
    as a rank and never happens.

    Args:
        tokens: The bytes of each id; of a special token its UTF-8 text.
        merges: Pairs of ids in the order of their rank.
        special_tokens: Ids of the special tokens, which no merge makes.

    Returns:
        The tables.

    Raises:
        ValueError: If a byte or the result of a merge has no id, or a merge
            has an id outside the vocabulary.

    Example:
        >>> tables = build_merge_tables([bytes([i]) for i in range(256)] + [b"ab"], [(97, 98)], {})
        >>> tables.symbols.is_ordered, tables.whole.tolist()
        (True, [256])
    """
    symbols = build_symbols(tokens, merges, special_tokens)
    last_rank = {
        (left, right): merge
        for merge, (left, right) in enumerate(symbols.parts.tolist())
        if left >= 0 and right >= 0
    }
    row_starts, columns, cells = displace_rows(last_rank, len(symbols.token_ids))
    tables = MergeTables(
        symbols=symbols,
        row_starts=row_starts,
        columns=columns,
        cells=cells,
        left_bounds=np.full(BOUND_SLOTS, NO_BOUND, np.int16),
        right_bounds=np.full(BOUND_SLOTS, NO_BOUND, np.int16),
        whole=np.zeros(0, np.int32),
    )
    if not symbols.is_ordered or not merges:
        return tables
    _fill_bounds(tables)
    return dataclasses.replace(tables, whole=_symbols_that_encode_to_themselves(tables))


def find_merges(
    tables: MergeTables, left: NDArray[np.int32], right: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Returns the merge of each pair of symbols, `NEVER` where there is none."""
    found = tables.cells[tables.row_starts[left] + tables.columns[right]]
    return np.where(tables.symbols.parts[found, 0] == left, found, NEVER).astype(np.int32)


def bound_slot(
    tables: MergeTables, left: NDArray[np.int32], right: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Returns the slot of pairs of symbols in the tables of bounds."""
    slots: NDArray[np.int32] = (left + right * np.int32(tables.hash_factor)) % BOUND_SLOTS
    return slots


def displace_rows(
    values: Mapping[tuple[int, int], int], size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Packs a sparse square table by shifting its rows until no entries meet.

    Source: "row displacement", Tarjan and Yao, "Storing a Sparse Table" (1979).

    Args:
        values: Values above 0 by row and column, both in [0, `size`).
        size: Number of rows and of columns.

    Returns:
        `row_starts` and `columns`, int32 `(size,)`, and `cells`, int32. The
        value of `(row, column)` is `cells[row_starts[row] + columns[column]]`.
        For a pair without a value, that cell is 0 or of another row.

    Example:
        >>> row_starts, columns, cells = displace_rows({(0, 1): 7, (2, 1): 8}, 3)
        >>> int(cells[row_starts[2] + columns[1]])
        8
    """
    rows: dict[int, list[int]] = defaultdict(list)
    uses: dict[int, int] = defaultdict(int)
    for row, column in values:
        rows[row].append(column)
        uses[column] += 1
    # Columns in frequent use lie close together, so that large rows are dense.
    by_use = sorted(uses, key=lambda column: (-uses[column], column))
    row_starts = np.zeros(size, np.int32)
    # A column without entries lies after the others.
    columns = np.full(size, len(by_use), np.int32)
    columns[by_use] = np.arange(len(by_use))
    used = np.zeros(len(values) + 2 * len(by_use) + 1, bool)
    searched: dict[int, int] = {}
    first_free = end = 0
    for row in sorted(rows, key=lambda row: (-len(rows[row]), row)):
        offsets = columns[rows[row]].astype(np.int64)
        if end + 2 * len(by_use) > len(used):
            used = np.pad(used, (0, len(used)))
        # Where rows as long as this one did not fit, this one seldom does.
        at_least = max(0, first_free - int(offsets.min()), searched.get(len(offsets), 0))
        row_starts[row] = _first_fit(used, offsets, at_least)
        if len(offsets) > 1:
            searched[len(offsets)] = int(row_starts[row])
        used[offsets + row_starts[row]] = True
        end = max(end, int(row_starts[row]) + int(offsets.max()) + 1)
        while used[first_free]:
            first_free += 1
    cells = np.zeros(end + len(by_use) + 1, np.int32)
    for (row, column), value in values.items():
        cells[row_starts[row] + columns[column]] = value
    return row_starts, columns, cells


def _first_fit(used: NDArray[np.bool_], offsets: NDArray[np.int64], start: int) -> int:
    """Returns the least start from the given one on at which no cell of the row is used."""
    tries = 512
    while True:
        starts = np.arange(start, min(start + tries, len(used) - int(offsets.max())))
        for offset in offsets:
            starts = starts[~used[starts + offset]]
            if not len(starts):
                break
        else:
            return int(starts[0])
        start, tries = start + tries, 2 * tries


def _fill_bounds(tables: MergeTables) -> None:
    """Lowers the bounds by every merge, for each symbol that a part of it ends or begins with."""
    parts = tables.symbols.parts
    merged = np.arange(NUM_BYTES, len(parts), dtype=np.int32)
    left, right = parts[merged, 0], parts[merged, 1]
    for bounds, side in ((tables.left_bounds, 1), (tables.right_bounds, 0)):
        inner = left if side else right
        merge, outer = merged, right if side else left
        while len(merge):
            inside = inner >= NUM_BYTES
            merge, outer, inner = merge[inside], outer[inside], parts[inner[inside], side]
            pair = (inner, outer) if side else (outer, inner)
            bound = (merge // tables.bound_step).astype(np.int16)
            np.minimum.at(bounds, bound_slot(tables, *pair), bound)


def _symbols_that_encode_to_themselves(tables: MergeTables) -> NDArray[np.int32]:
    """Returns the merged symbols whose bytes merge into them and nothing else.

    Undoes the merges of the two parts of each, the latest first. If no pair
    across the middle would have merged before those, the parts are made.
    """
    parts = tables.symbols.parts
    whole = np.ones(len(parts), bool)
    # Parts come before what is made of them: a symbol is whole if both parts are.
    merged = np.arange(NUM_BYTES, len(parts), dtype=np.int32)
    left, right = parts[merged, 0], parts[merged, 1]
    symbol, limit = merged, merged
    while len(symbol):
        crosses = find_merges(tables, left, right) < limit
        whole[symbol[crosses]] = False
        go_on = ~crosses & ((left >= NUM_BYTES) | (right >= NUM_BYTES))
        symbol, left, right = symbol[go_on], left[go_on], right[go_on]
        undo_left = left > right
        # Of equal merges the left one goes first: that across before one on its right.
        limit = np.maximum(left, right) + ~undo_left
        left, right = (
            np.where(undo_left, parts[left, 1], left),
            np.where(undo_left, right, parts[right, 0]),
        )
    for made in merged:
        a, b = parts[made]
        whole[made] &= whole[a] and whole[b]
    return np.flatnonzero(whole[NUM_BYTES:]).astype(np.int32) + NUM_BYTES
