"""The form of token ids that a model is called with."""

from typing import Any

import numpy as np


def check_token_ids_form(value: Any) -> Any:
    """Returns token ids `(batch, time)`: an array or tensor as it is, lists as an array.

    Raises:
        TypeError: If it is none of these, or holds no numbers.
        ValueError: If it has other than two axes, or rows of several lengths.

    Example:
        >>> check_token_ids_form([1, 2])
        Traceback (most recent call last):
        ...
        ValueError: token_ids has the shape (2,). Use (batch, time), for one row token_ids[None].
    """
    if isinstance(value, (list, tuple)):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(
                f"token_ids={value!r:.80} has rows of several lengths. Pad them to one length, "
                "and give padding_mask."
            ) from error
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", "")
    name = getattr(dtype, "name", str(dtype))
    if shape is None or not name.startswith(("int", "uint", "float", "bfloat")):
        found = f"has the dtype {name}" if dtype else f"is of the type {type(value).__name__}"
        raise TypeError(
            f"token_ids={value!r:.80} {found}. Use integers (batch, time). A text is encoded by "
            "the tokenizer, or given to `model.generate` and `model.score`."
        )
    if hasattr(value, "row_splits"):  # a ragged tensor
        raise ValueError(
            "token_ids has rows of several lengths. Pad them by `token_ids.to_tensor()`, and give "
            "padding_mask."
        )
    if getattr(shape, "rank", 0) is not None and len(shape) != 2:
        raise ValueError(
            f"token_ids has the shape {tuple(shape)}. Use (batch, time), for one row "
            "token_ids[None]."
        )
    return value
