"""A sparse table of pairs in one short array."""

from collections import defaultdict
from collections.abc import Mapping

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
