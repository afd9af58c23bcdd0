"""Tables for a terminal."""

from collections.abc import Sequence


def in_columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Returns rows as lines of text whose columns are as wide as their widest cell.

    Args:
        rows: Cells, the same number in each row.
        right: Indices of the columns whose cells are aligned to the right.

    Example:
        >>> print(in_columns([["file", "tokens"], ["a.txt", "12"]], right=[1]))
        file   tokens
        a.txt      12
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
