"""What beam search, contrastive search and speculative sampling share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gpt2_keras.generation.batch import (
    check_texts,
    default_max_new_tokens,
    encode_prompts,
    pad,
)
from gpt2_keras.model import GPT2LM


def check_room(model: GPT2LM, token_ids: np.ndarray, max_new_tokens: int) -> None:
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
    model: GPT2LM, prompts: str | Sequence[str], max_new_tokens: int | None, overflow: str
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
    model: GPT2LM, texts: Sequence[str], ids: np.ndarray, counts: np.ndarray, *, strip_prompt: bool
) -> list[str]:
    """Returns each text with the first tokens of its row added, or these alone."""
    tokenizer = model.require_tokenizer()
    return [
        ("" if strip_prompt else text) + tokenizer.decode(row[:count].tolist())
        for text, row, count in zip(texts, ids, counts, strict=True)
    ]
