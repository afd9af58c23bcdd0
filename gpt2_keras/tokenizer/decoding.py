"""Token ids in any container, to bytes."""

import operator
from collections.abc import Iterable, Sequence
from typing import Any


def join_bytes(ids: Any, token_bytes: Sequence[bytes]) -> bytes | list[bytes]:
    """Joins the bytes of token ids.

    Args:
        ids: Token ids, or several lists of them: Python lists, arrays or tensors.
        token_bytes: The bytes of each token id.

    Returns:
        The bytes of the ids, or a list of them for each list.

    Raises:
        TypeError: If an id is not an integer.
        ValueError: If an id is not in the vocabulary.

    Example:
        >>> join_bytes([1, 0, 1], [b"a", b"b"]), join_bytes([[1], [0, 0]], [b"a", b"b"])
        (b'bab', [b'b', b'aa'])
    """
    rows = _as_list(ids)
    if rows and all(_is_row(row) for row in rows):
        return [_join(_as_list(row), token_bytes) for row in rows]
    return _join(rows, token_bytes)


def _as_list(ids: Any) -> list[Any]:
    """Returns ids of any container as a list."""
    if hasattr(ids, "numpy"):  # a tensor
        ids = ids.numpy()
    if hasattr(ids, "tolist"):  # an array
        ids = ids.tolist()
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise TypeError(
            "`ids` must be a sequence of token ids, or several. "
            f"Received: {ids!r} of type {type(ids).__name__}. Use [{ids!r}] for one id."
        )
    return list(ids)


def _is_row(item: object) -> bool:
    """Tells a list of ids from an id; NumPy's integers have a `tolist` but no length."""
    return hasattr(item, "__len__") and getattr(item, "ndim", 1) > 0


def _join(ids: Iterable[Any], token_bytes: Sequence[bytes]) -> bytes:
    """Joins the bytes of ids."""
    pieces = []
    for token_id in ids:
        try:
            index = operator.index(token_id)
        except TypeError:
            raise TypeError(
                "A token id is an integer. "
                f"Received: {token_id!r} of type {type(token_id).__name__}. "
                "Use the ids that `encode` makes."
            ) from None
        if not 0 <= index < len(token_bytes):
            raise ValueError(
                "A token id is at least 0 and below the vocabulary size. "
                f"Received: id={index}, vocab_size={len(token_bytes)}. "
                "Use the tokenizer that made the ids."
            )
        pieces.append(token_bytes[index])
    return b"".join(pieces)
