"""Prompts made ready for the decoding loop."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from gpt2_keras.model import GPT2Model

DEFAULT_MAX_NEW_TOKENS = 64


def default_max_new_tokens(model: GPT2Model) -> int:
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
    model: GPT2Model,
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


def check_room(model: GPT2Model, token_ids: np.ndarray, max_new_tokens: int) -> None:
    """Raises ValueError unless `max_new_tokens` is positive and fits behind every prompt."""
    longest = model.config.context_length - token_ids.shape[1]
    if not isinstance(max_new_tokens, int | np.integer) or not 1 <= max_new_tokens <= longest:
        raise ValueError(
            "`max_new_tokens` must be an integer of at least 1, and must fit with the prompts "
            f"into `context_length` tokens. Received: max_new_tokens={max_new_tokens!r}, "
            f"prompts of {token_ids.shape[1]} tokens, "
            f"context_length={model.config.context_length}. Shorten the prompts or ask for less."
        )


def read_prompts(
    model: GPT2Model, prompts: str | Sequence[str], max_new_tokens: int | None, overflow: str
) -> tuple[list[str], np.ndarray, np.ndarray, int]:
    """Returns the prompts, their ids `(batch, time)` and lengths, and the number of new tokens."""
    listed = check_texts(prompts)
    if max_new_tokens is None:
        max_new_tokens = default_max_new_tokens(model)
    rows = encode_prompts(model, listed, max_new_tokens=max_new_tokens, overflow=overflow)
    token_ids, num_tokens = pad(rows, model.require_tokenizer().end_token_id, side="left")
    return listed, token_ids, num_tokens, max_new_tokens


def real_columns(token_ids: Any, num_tokens: Any, length: Any) -> tf.Tensor:
    """Returns the padding mask of prompts at the right end of their rows, `(batch, length)`."""
    first = tf.shape(token_ids)[1] - num_tokens  # (batch,)
    return tf.expand_dims(tf.range(length), 0) >= tf.expand_dims(first, 1)


def count_before(token_ids: tf.Tensor, end_token_id: int) -> tf.Tensor:
    """Counts the tokens before the first end token; `(..., time)` → int32 `(...)`."""
    running = tf.math.cumprod(tf.cast(token_ids != end_token_id, tf.int32), axis=-1)
    return tf.reduce_sum(running, axis=-1)


def continued(
    model: GPT2Model,
    texts: Sequence[str],
    ids: np.ndarray,
    counts: np.ndarray,
    *,
    strip_prompt: bool,
) -> list[str]:
    """Returns each text with the first tokens of its row added, or these alone."""
    tokenizer = model.require_tokenizer()
    return [
        ("" if strip_prompt else text) + tokenizer.decode(row[:count].tolist())
        for text, row, count in zip(texts, ids, counts, strict=True)
    ]
