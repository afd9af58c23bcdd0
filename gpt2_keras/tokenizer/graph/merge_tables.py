"""The merges of a byte-level BPE as tables of integers.

A *symbol* is a byte (0 to 255) or 256 plus the rank of the merge that makes it,
so of two merges the one with the smaller symbol goes first. Behind these come
the special tokens. `token_ids` turns symbols into the ids of the vocabulary,
whatever their order there.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


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
    place = {column: index for index, column in enumerate(by_use)}
    row_starts = np.zeros(size, np.int32)
    # A column without entries lies behind the others.
    columns = np.full(size, len(by_use), np.int32)
    columns[by_use] = np.arange(len(by_use))
    taken = np.zeros(len(values) + 2 * len(by_use) + 1, bool)
    searched: dict[int, int] = {}
    first_free = end = 0
    for row in sorted(rows, key=lambda row: (-len(rows[row]), row)):
        places = np.array([place[column] for column in rows[row]])
        if end + 2 * len(by_use) > len(taken):
            taken = np.pad(taken, (0, len(taken)))
        # Where rows as long as this one did not fit, this one seldom does.
        at_least = max(0, first_free - int(places.min()), searched.get(len(places), 0))
        row_starts[row] = _first_fit(taken, places, at_least)
        if len(places) > 1:
            searched[len(places)] = int(row_starts[row])
        taken[places + row_starts[row]] = True
        end = max(end, int(row_starts[row]) + int(places.max()) + 1)
        while taken[first_free]:
            first_free += 1
    cells = np.zeros(end + len(by_use) + 1, np.int32)
    for (row, column), value in values.items():
        cells[row_starts[row] + place[column]] = value
    return row_starts, columns, cells


def _first_fit(taken: NDArray[np.bool_], places: NDArray[np.int64], start: int) -> int:
    """Returns the least start from the given one on at which no place of the row is taken."""
    tries = 512
    while True:
        starts = np.arange(start, min(start + tries, len(taken) - int(places.max())))
        for place in places:
            starts = starts[~taken[starts + place]]
            if not len(starts):
                break
        else:
            return int(starts[0])
        start, tries = start + tries, 2 * tries


NUM_BYTES = 256
NEVER = 1 << 30  # larger than any symbol: no merge
BOUND_SLOTS = 65521  # the largest prime below 2¹⁶: 128 KiB a table
NO_BOUND = 32767  # the largest int16


@dataclasses.dataclass(frozen=True)
class MergeTables:
    """Merges by table lookup. `separator`, the symbol after the last, merges with nothing.

    Args:
        token_ids: int32 `(symbols + 1,)`, the id of each symbol, -1 of the separator.
        token_bytes: The bytes of each id; of a special token its UTF-8 text.
        row_starts: int32 `(symbols + 1,)`, by left symbol.
        columns: int32 `(symbols + 1,)`, by right symbol.
        cells: int32. The merge of a pair, if it merges, is
            `cells[row_starts[left] + columns[right]]`.
        left_of_merge: int32, by merge, its left symbol; -1 where there is no
            merge. If that is not the left symbol, the pair does not merge.
        symbol_of_merge: int32, by merge. Only where `is_ordered` is false does
            a merge make another symbol than its own number.
        left_bounds: int16 `(BOUND_SLOTS,)`, hashed by a pair `(x, a)`: no
            symbol that ends with `x` merges with `a` into less than
            `bound_step` times this. Two pairs in one slot have the lower bound.
        right_bounds: int16 `(BOUND_SLOTS,)`, hashed by a pair `(b, y)`: no
            symbol that begins with `y` merges with `b` into less than that.
        is_ordered: True if every merge makes a new token of tokens made before,
            as in GPT-2. Then merges at different places commute.
        joined: bool `(65536,)`, by the last byte of a left part times 256 and
            the first of a right one, whether any merge joins such parts. Where
            none does, a word falls into two that merge by themselves.
        whole: int32, the symbols of two and more bytes that encode to
            themselves. Empty where `is_ordered` is false.
    """

    token_ids: NDArray[np.int32]
    token_bytes: list[bytes]
    row_starts: NDArray[np.int32]
    columns: NDArray[np.int32]
    cells: NDArray[np.int32]
    left_of_merge: NDArray[np.int32]
    symbol_of_merge: NDArray[np.int32]
    left_bounds: NDArray[np.int16]
    right_bounds: NDArray[np.int16]
    is_ordered: bool
    joined: NDArray[np.bool_]
    whole: NDArray[np.int32]

    @property
    def separator(self) -> int:
        """The symbol that merges with nothing."""
        return len(self.token_ids) - 1

    def special_symbol(self, index: int) -> int:
        """The symbol of the special token listed at `index`."""
        return len(self.symbol_of_merge) + index

    @property
    def bound_step(self) -> int:
        """The unit of the bounds: in it, every symbol is less than the largest int16."""
        return self.separator // NO_BOUND + 1

    @property
    def hash_factor(self) -> int:
        """The factor of the right symbol in `bound_slot`: prime, and free of overflow."""
        return min(8191, (2**31 - 1) // (self.separator + 1) - 1)


def build_merge_tables(
    tokens: Sequence[bytes],
    merges: Sequence[tuple[int, int]],
    special_tokens: Mapping[str, int],
) -> MergeTables:
    """Builds the tables of a vocabulary.

    Of a pair that is listed twice the last rank counts, as in `Encoder` of
    openai/gpt-2 `src/encoder.py`. A merge of tokens that nothing makes is kept
    in the count and never happens.

    Args:
        tokens: The bytes of each id; of a special token its UTF-8 text.
        merges: Pairs of ids in the order of their rank.
        special_tokens: Ids of the special tokens, which no merge makes.

    Returns:
        The tables.

    Raises:
        ValueError: If a byte or the result of a merge has no id, or a merge
            names an id outside the vocabulary.

    Example:
        >>> tables = build_merge_tables([bytes([i]) for i in range(256)] + [b"ab"], [(97, 98)], {})
        >>> tables.is_ordered, tables.whole.tolist()
        (True, [256])
    """
    token_bytes = [bytes(token) for token in tokens]
    specials = set(special_tokens.values())
    id_of: dict[bytes, int] = {}
    for token_id, token in enumerate(token_bytes):
        if token_id not in specials:
            id_of.setdefault(token, token_id)
    pairs = _merges_as_bytes(token_bytes, merges)
    token_ids = _symbol_ids(id_of, pairs)
    num_made = len(token_ids)
    token_ids = np.append(token_ids, [*special_tokens.values(), -1]).astype(np.int32)

    symbol_of = {bytes([value]): value for value in range(NUM_BYTES)}
    for rank, (left, right) in enumerate(pairs):
        symbol_of.setdefault(left + right, NUM_BYTES + rank)
    number = np.arange(num_made, dtype=np.int32)
    parts = np.full((num_made, 2), -1, np.int32)
    for merge, (left, right) in enumerate(pairs, NUM_BYTES):
        parts[merge] = symbol_of.get(left, -1), symbol_of.get(right, -1)
    symbol_of_merge = number.copy()
    symbol_of_merge[NUM_BYTES:] = [symbol_of[left + right] for left, right in pairs]
    merged, merged_parts = number[NUM_BYTES:], parts[NUM_BYTES:]
    is_ordered = bool(
        (symbol_of_merge == number).all()
        and (merged_parts >= 0).all()
        and (merged_parts < merged[:, None]).all()
    )

    can_happen = (merged_parts >= 0).all(axis=1)
    last_rank = {
        (int(left), int(right)): int(merge)
        for merge, (left, right) in zip(merged[can_happen], merged_parts[can_happen], strict=True)
    }
    row_starts, columns, cells = displace_rows(last_rank, len(token_ids))
    tables = MergeTables(
        token_ids=token_ids,
        token_bytes=token_bytes,
        row_starts=row_starts,
        columns=columns,
        cells=cells,
        left_of_merge=parts[:, 0].copy(),
        symbol_of_merge=symbol_of_merge,
        left_bounds=np.full(BOUND_SLOTS, NO_BOUND, np.int16),
        right_bounds=np.full(BOUND_SLOTS, NO_BOUND, np.int16),
        is_ordered=is_ordered,
        joined=_joined_bytes(pairs),
        whole=np.zeros(0, np.int32),
    )
    if not is_ordered or not pairs:
        return tables
    _fill_bounds(tables, parts)
    return dataclasses.replace(tables, whole=_symbols_that_encode_to_themselves(tables, parts))


def bound_slot(
    tables: MergeTables, left: NDArray[np.int32], right: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Returns the slot of pairs of symbols in the tables of bounds."""
    slots: NDArray[np.int32] = (left + right * np.int32(tables.hash_factor)) % BOUND_SLOTS
    return slots


def find_merges(
    tables: MergeTables, left: NDArray[np.int32], right: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Returns the merge of each pair of symbols, `NEVER` where there is none."""
    found = tables.cells[tables.row_starts[left] + tables.columns[right]]
    return np.where(tables.left_of_merge[found] == left, found, NEVER).astype(np.int32)


def _merges_as_bytes(
    tokens: Sequence[bytes], merges: Sequence[tuple[int, int]]
) -> list[tuple[bytes, bytes]]:
    """Replaces the ids of the merges by their bytes."""
    pairs = []
    for rank, (left, right) in enumerate(merges):
        if not (0 <= left < len(tokens) and 0 <= right < len(tokens)):
            raise ValueError(
                "A merge joins two ids of the vocabulary. "
                f"Received: merges[{rank}]={(left, right)}, {len(tokens)} tokens. "
                "Give the vocabulary and the merges of one and the same tokenizer."
            )
        pairs.append((tokens[left], tokens[right]))
    return pairs


def _symbol_ids(
    id_of: Mapping[bytes, int], pairs: Sequence[tuple[bytes, bytes]]
) -> NDArray[np.int32]:
    """Returns the id of each symbol: the bytes, then what the merges make."""
    ids = []
    for value in range(NUM_BYTES):
        if bytes([value]) not in id_of:
            raise ValueError(
                "A byte-level vocabulary has a token for each of the 256 bytes. "
                f"Received: no token for the byte {value}. Add it to the vocabulary."
            )
        ids.append(id_of[bytes([value])])
    for rank, (left, right) in enumerate(pairs):
        if left + right not in id_of:
            raise ValueError(
                "The result of each merge is in the vocabulary. "
                f"Received: merges[{rank}] makes {left + right!r}, which has no id. "
                "Give the vocabulary and the merges of one and the same tokenizer."
            )
        ids.append(id_of[left + right])
    return np.array(ids, np.int32)


def _joined_bytes(pairs: Sequence[tuple[bytes, bytes]]) -> NDArray[np.bool_]:
    """Returns which bytes stand on the two sides of some merge."""
    joined = np.zeros(NUM_BYTES * NUM_BYTES, bool)
    for left, right in pairs:
        joined[left[-1] * NUM_BYTES + right[0]] = True
    return joined


def _fill_bounds(tables: MergeTables, parts: NDArray[np.int32]) -> None:
    """Lowers the bounds by every merge, for all that its left part ends, its right begins, with."""
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


def _symbols_that_encode_to_themselves(
    tables: MergeTables, parts: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Returns the merged symbols whose bytes merge into them and nothing else.

    Undoes the two halves of each, the latest merge first. If no pair across
    the middle would have merged before its sides did, the halves come to be.
    """
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
    for symbol_of_two in merged:
        a, b = parts[symbol_of_two]
        whole[symbol_of_two] &= whole[a] and whole[b]
    return np.flatnonzero(whole[NUM_BYTES:]).astype(np.int32) + NUM_BYTES
