"""Prompts made ready for the decoding loop."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from gpt2_keras.model import GPT2LM

DEFAULT_MAX_NEW_TOKENS = 64


def default_max_new_tokens(model: GPT2LM) -> int:
    """Returns how many tokens a text gets where nobody says: 64, or half a smaller context."""
    return max(1, min(DEFAULT_MAX_NEW_TOKENS, model.config.context_length // 2))


def check_texts(texts: str | Sequence[str]) -> list[str]:
    """Returns one or several texts as a list.

    Raises:
        TypeError: If one is not a `str`.
        ValueError: If there are none.
    """
    listed = [texts] if isinstance(texts, str) else list(texts)
    for text in listed:
        if not isinstance(text, str):
            raise TypeError(
                "A text must be a str, or several in a list. "
                f"Received: {type(text).__name__}. Decode bytes first."
            )
    if not listed:
        raise ValueError("There must be at least one text. Received: an empty list.")
    return listed


def encode_prompts(
    model: GPT2LM,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    overflow: str = "refuse",
    prefix_length: int = 0,
) -> list[list[int]]:
    """Encodes prompts and makes sure that prompt and new tokens fit the context.

    Args:
        model: A model with a tokenizer.
        prompts: The texts. An empty one without a prefix becomes the end token,
            which in GPT-2's training text stands before every document.
        max_new_tokens: Number of tokens to come.
        overflow: `"refuse"` a prompt that is too long, `"crop"` its beginning,
            or `"slide"`: only one new token must fit at a time, and a longer
            prompt loses its beginning.
        prefix_length: Number of tokens that stand before every prompt.

    Returns:
        Each prompt's ids, at least one.

    Raises:
        ValueError: If a prompt does not fit, or could not even if cropped.
    """
    tokenizer = model.require_tokenizer()
    context = model.config.context_length
    room = context - prefix_length - (1 if overflow == "slide" else max_new_tokens)
    if room < 1:
        raise ValueError(
            "`max_new_tokens` must be below the model's context_length, less the prefix. "
            f"Received: max_new_tokens={max_new_tokens}, "
            f"context_length={context}, prefix of {prefix_length} tokens. Use at most "
            f"{context - prefix_length - 1}, or overflow='slide'."
        )
    rows = []
    for index, prompt in enumerate(prompts):
        ids = tokenizer.encode(prompt) or [tokenizer.end_token_id]
        if len(ids) > room and overflow == "refuse":
            raise ValueError(
                "A prompt and its new tokens must fit into `context_length` tokens. "
                f"Received: prompt {index} with {len(ids)} tokens, "
                f"max_new_tokens={max_new_tokens}, context_length={context}. "
                "Shorten it, ask for fewer new tokens, or set overflow='crop' to drop its "
                "beginning."
            )
        rows.append(ids[-room:])
    return rows


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
        value: What fills the rest.
        side: Where the rest is.
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
