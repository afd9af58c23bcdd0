"""Rows of unequal lengths in one array, and which of its tokens are real."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from gpt2_keras.generation.arrays import Array, xp


def pad(
    rows: Sequence[Sequence[int] | np.ndarray],
    value: int,
    *,
    side: Literal["left", "right"],
    width: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Puts rows of unequal lengths into one array.

    Args:
        rows: Lists of ids.
        value: The id of the padding.
        side: Where the padding is.
        width: Smallest `time` of the array.

    Returns:
        The ids, int32 `(batch, time)`, and each row's length, int32 `(batch,)`.

    Example:
        >>> ids, lengths = pad([[1, 2, 3], [4]], 0, side="left")
        >>> ids.tolist(), lengths.tolist()
        ([[1, 2, 3], [0, 0, 4]], [3, 1])
    """
    lengths = np.array([len(row) for row in rows], "int32")
    padded = np.full((len(rows), max(width, lengths.max())), value, "int32")
    for row, ids in zip(padded, rows, strict=True):
        row[len(row) - len(ids) if side == "left" else 0 :][: len(ids)] = ids
    return padded, lengths


def left_padding_mask(num_tokens: Any, time: Any, length: Any = None) -> Array:
    """Returns the mask of prompts that are padded on the left.

    Args:
        num_tokens: Int32 tensor `(batch,)`: the length of each prompt.
        time: Number of columns up to the end of the prompts.
        length: Number of columns of the mask, by default `time`; those after the prompts are
            not padding.

    Returns:
        Bool tensor `(batch, length)`, False for padding.

    Example:
        >>> left_padding_mask(np.array([1, 2], "int32"), 2, 3).numpy().astype(int).tolist()
        [[0, 1, 1], [1, 1, 1]]
    """
    first = xp.expand_dims(time - num_tokens, 1)  # (batch, 1): columns of padding
    return xp.expand_dims(xp.arange(time if length is None else length), 0) >= first


def is_any(ids: Array, values: Any) -> Array:
    """Returns whether each id is one of some values, bool like `ids`.

    Example:
        >>> is_any(xp.constant([3, 4, 5]), [5, 3]).numpy().tolist()
        [True, False, True]
    """
    return xp.any(xp.expand_dims(ids, -1) == xp.asarray(values), axis=-1)


def count_until(ends: Array) -> Array:
    """Counts the entries before the first True; bool `(..., time)` → int32 `(...)`.

    Example:
        >>> count_until(xp.constant([[False, False, True, False]])).numpy().tolist()
        [2]
    """
    return xp.sum(xp.cumprod(xp.cast(~ends, "int32"), axis=-1), axis=-1)
