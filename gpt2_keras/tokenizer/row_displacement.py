"""A sparse table of pairs in one short array."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

NO_CELL = 1 << 29  # a row or a column without entries: beyond every table


def displace_rows(
    values: Mapping[tuple[int, int], int], size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Packs a sparse square table by shifting its rows until no entries meet.

    Source: "row displacement", Tarjan and Yao, "Storing a Sparse Table" (1979).

    Args:
        values: Values in [0, 2³²) by row and column, both in [0, `size`).
        size: Number of rows and of columns.

    Returns:
        `row_starts` and `columns`, int32 `(size,)`, and `cells`, int64, whose
        last element is -1. The pair `(row, column)` has the value
        `cells[min(row_starts[row] + columns[column], last)] - (row << 32)` if
        that is in [0, 2³²), and no value otherwise.

    Example:
        >>> row_starts, columns, cells = displace_rows({(0, 1): 7, (2, 1): 8}, 3)
        >>> int(cells[row_starts[2] + columns[1]]) - (2 << 32)
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
    row_starts = np.full(size, NO_CELL, np.int32)
    columns = np.full(size, NO_CELL, np.int32)
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
    cells = np.full(end + 1, -1, np.int64)
    for (row, column), value in values.items():
        cells[row_starts[row] + place[column]] = (row << 32) + value
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
