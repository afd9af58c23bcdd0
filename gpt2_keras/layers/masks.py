"""Which keys each query may attend to, and the positions of tokens."""

from typing import Any

from keras import ops

# Far below any score and finite in float32, so that a row without a key to attend to (padding)
# becomes uniform and not NaN. openai/gpt-2 src/model.py, mask_attn_weights().
MASKED_SCORE = -1e10


def causal_mask(time: Any, length: Any, first: Any = 0, padding_mask: Any = None) -> Any:
    """Returns the mask of the keys that are not after each query.

    Args:
        time: Number of queries.
        length: Number of keys.
        first: Position of the first query among the keys.
        padding_mask: Bool tensor `(batch, length)`, False for keys that are padding; None when
            there is none.

    Returns:
        Bool tensor `(batch or 1, 1, time, length)`, True where a query may attend.

    Example:
        >>> print(np.array(causal_mask(2, 3, first=1))[0, 0].astype(int))
        [[1 1 0]
         [1 1 1]]
    """
    queries = ops.expand_dims(ops.arange(time, dtype="int32") + first, 1)  # (time, 1)
    keys = ops.expand_dims(ops.arange(length, dtype="int32"), 0)  # (1, length)
    mask = ops.expand_dims(ops.expand_dims(keys <= queries, 0), 0)  # (1, 1, time, length)
    if padding_mask is None:
        return mask
    padding_mask = ops.cast(padding_mask, "bool")
    real_keys = ops.expand_dims(ops.expand_dims(padding_mask, 1), 1)  # (batch, 1, 1, length)
    return ops.logical_and(mask, real_keys)


def document_mask(mask: Any, segment_ids: Any) -> Any:
    """Returns a mask that also separates documents.

    Args:
        mask: Bool tensor `(batch or 1, 1, time, time)`.
        segment_ids: Int tensor `(batch, time)`, the number of each token's document.

    Returns:
        Bool tensor `(batch, 1, time, time)`.

    Example:
        >>> mask = document_mask(causal_mask(3, 3), np.array([[0, 0, 1]]))
        >>> print(np.array(mask)[0, 0].astype(int))
        [[1 0 0]
         [1 1 0]
         [0 0 1]]
    """
    same = ops.equal(ops.expand_dims(segment_ids, 2), ops.expand_dims(segment_ids, 1))
    return ops.logical_and(mask, ops.expand_dims(same, 1))


def token_positions(time: Any, padding_mask: Any = None, cache_index: Any = 0) -> Any:
    """Returns the positions of tokens, counted from the first token that is not padding.

    Args:
        time: Number of tokens.
        padding_mask: Bool tensor `(batch, keys)`, or None.
        cache_index: Number of positions that the cache holds already.

    Returns:
        Int32 tensor `(batch or 1, time)`.

    Example:
        >>> np.array(token_positions(3, np.array([[False, True, True]]))).tolist()
        [[0, 0, 1]]
    """
    columns = ops.arange(time, dtype="int32") + cache_index  # (time,)
    if padding_mask is None:
        return ops.expand_dims(columns, 0)
    real_before = ops.cumsum(ops.cast(padding_mask, "int32"), axis=1) - 1  # (batch, keys)
    return ops.take(ops.maximum(real_before, 0), columns, axis=1)


def document_positions(mask: Any) -> Any:
    """Returns the positions of tokens within their documents, int32 `(batch, time)`.

    Args:
        mask: Bool tensor `(batch, 1, time, time)` of `document_mask`.
    """
    visible = ops.sum(ops.cast(mask[:, 0], "int32"), axis=2)  # (batch, time)
    return ops.maximum(visible - 1, 0)
