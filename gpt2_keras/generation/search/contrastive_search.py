"""Contrastive search: likely tokens that do not repeat what the text says already."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gpt2_keras.generation.compiled import COUNTS, IDS, INTEGER, NUMBER, kept_trace, traced
from gpt2_keras.generation.prompts import (
    check_room,
    continued,
    count_before,
    read_prompts,
    real_columns,
)
from gpt2_keras.model import GPT2Model

LEAST_COSINE = -1.0


@dataclasses.dataclass(frozen=True)
class Contrastive:
    """Takes, of the `k` likeliest tokens, the best by likelihood and by difference.

    Best is the largest `(1 - alpha) · p - alpha · s`, with the token's probability
    p and s the largest cosine between its hidden state and one of the tokens
    before it. Source: "A Contrastive Framework for Neural Text Generation" (Su et
    al., 2022), equation 5.

    Args:
        k: Number of candidates, at least 1. Each costs a row in every step.
        alpha: Weight of the difference, in [0, 1]; 0 is greedy.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> Contrastive(k=4)
        Contrastive(k=4, alpha=0.6)
    """

    k: int = 5
    alpha: float = 0.6

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or self.k < 1:
            raise ValueError(f"`k` must be an integer of at least 1. Received: k={self.k!r}.")
        if not 0 <= self.alpha <= 1:
            raise ValueError(
                "`alpha` must be at least 0 and at most 1. "
                f"Received: alpha={self.alpha}. 0.0 is greedy."
            )


def contrastive_search(
    model: GPT2Model,
    token_ids: Any,
    num_tokens: Any,
    k: Any,
    alpha: Any,
    *,
    max_new_tokens: Any,
    end_token_id: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Continues prompts by contrastive search; see `Contrastive`.

    A step reads all candidates at once: k rows of the cache for each text. The
    chosen one's row gives the cache, the hidden state and the logits of the next
    step.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, each prompt at the right end of
            its row.
        num_tokens: Int32 tensor `(batch,)`: each prompt's length, at least 1.
        k: Int32 scalar, from 1 to the vocabulary's size.
        alpha: Float32 scalar, in [0, 1].
        max_new_tokens: Int32 scalar, at least 1.
        end_token_id: The id that finishes a row.

    Returns:
        New tokens, int32 `(batch, max_new_tokens)`, filled up with the end token,
        and how many of each row come before its end token, int32 `(batch,)`.
    """
    batch_size, time = tf.unstack(tf.shape(token_ids))
    length = time + max_new_tokens
    padding_mask = real_columns(token_ids, num_tokens, length)  # (batch, length)
    logits, cache, states = model(
        token_ids,
        padding_mask=padding_mask,
        cache=model.make_cache(batch_size, length),
        num_logits=1,
        return_hidden_states=True,
        training=False,
    )
    per_candidate = functools.partial(tf.repeat, repeats=k, axis=0)  # batch → batch × k
    candidate_mask = per_candidate(padding_mask)
    # The unit vectors of the tokens so far; (batch, length, width)
    context = tf.pad(_unit(states[-1]), [[0, 0], [0, max_new_tokens], [0, 0]])
    columns = tf.range(length)

    def body(
        step: tf.Tensor,
        logits: tf.Tensor,
        cache: Any,
        context: tf.Tensor,
        drawn: tf.Tensor,
        finished: tf.Tensor,
    ) -> tuple[Any, ...]:
        probabilities, candidates = tf.math.top_k(tf.nn.softmax(logits), k)  # (batch, k)
        next_logits, cache, states = model(
            tf.reshape(candidates, [-1, 1]),
            padding_mask=candidate_mask,
            cache=cache,
            cache_index=time + step,
            return_hidden_states=True,
            training=False,
        )
        width = context.shape[-1]
        vectors = tf.reshape(_unit(states[-1]), [batch_size, k, width])
        cosines = tf.matmul(vectors, context, transpose_b=True)  # (batch, k, length)
        known = tf.expand_dims(padding_mask & (columns < time + step), 1)  # (batch, 1, length)
        sameness = tf.reduce_max(tf.where(known, cosines, LEAST_COSINE), axis=2)  # (batch, k)
        score = (1 - alpha) * probabilities - alpha * sameness
        choice = tf.argmax(score, axis=1, output_type=tf.int32)  # (batch,)

        ids = tf.gather(candidates, choice, batch_dims=1)
        ids = tf.where(finished, end_token_id, ids)
        drawn = tf.where(tf.range(max_new_tokens) == step, tf.expand_dims(ids, 1), drawn)
        chosen = tf.gather(vectors, choice, batch_dims=1)  # (batch, width)
        here = tf.reshape(columns == time + step, [1, -1, 1])  # (1, length, 1)
        context = tf.where(here, tf.expand_dims(chosen, 1), context)
        rows = tf.range(batch_size) * k + choice
        logits = tf.gather(next_logits[:, 0], rows)  # (batch, vocab)
        rows = per_candidate(rows)  # (batch × k,)
        cache = tf.nest.map_structure(lambda kept: tf.gather(kept, rows), cache)
        return step + 1, logits, cache, context, drawn, finished | (ids == end_token_id)

    *_, drawn, _ = tf.while_loop(
        lambda step, *state: (step < max_new_tokens) & ~tf.reduce_all(state[-1]),
        body,
        (
            tf.constant(0),
            logits[:, 0],
            tf.nest.map_structure(per_candidate, cache),
            context,
            tf.fill([batch_size, max_new_tokens], end_token_id),
            tf.fill([batch_size], False),
        ),
    )
    return drawn, count_before(drawn, end_token_id)


def _unit(states: tf.Tensor) -> tf.Tensor:
    """Scales vectors to length 1, so that their products are cosines."""
    return tf.math.l2_normalize(tf.cast(states, tf.float32), axis=-1)


def contrastive_ids(
    model: GPT2Model,
    token_ids: np.ndarray,
    num_tokens: np.ndarray,
    settings: Contrastive,
    *,
    max_new_tokens: int,
    end_token_id: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Continues prompts of ids by contrastive search, in a function traced once a model.

    Args:
        model: The model.
        token_ids: Int32 array `(batch, time)`, each prompt at the right end of
            its row.
        num_tokens: Int32 array `(batch,)`: each prompt's length, at least 1.
        settings: The search.
        max_new_tokens: Largest number of tokens to add, at least 1.
        end_token_id: The id that finishes a row.

    Returns:
        As `contrastive_search`, as arrays.

    Raises:
        ValueError: If `k` is above the vocabulary's size, or if prompts and new
            tokens do not fit the context.
    """
    check_room(model, token_ids, max_new_tokens)
    if settings.k > model.config.vocab_size:
        raise ValueError(
            f"`k` must be at most vocab_size={model.config.vocab_size}. Received: k={settings.k}."
        )

    def make() -> Any:
        def search(*arguments: Any) -> Any:
            *others, max_new_tokens = arguments
            return contrastive_search(
                model, *others, max_new_tokens=max_new_tokens, end_token_id=end_token_id
            )

        return traced(search, [IDS, COUNTS, INTEGER, NUMBER, INTEGER])

    ids, counts = kept_trace(model, "contrastive_search", (end_token_id,), make)(
        token_ids,
        num_tokens,
        np.int32(settings.k),
        np.float32(settings.alpha),
        np.int32(max_new_tokens),
    )
    return ids.numpy(), counts.numpy()


def generate_contrastive(
    model: GPT2Model,
    prompts: str | Sequence[str],
    settings: Contrastive,
    *,
    max_new_tokens: int | None = None,
    overflow: str = "refuse",
    strip_prompt: bool = False,
) -> list[str]:
    """Continues texts by contrastive search.

    Args:
        model: A model with a tokenizer.
        prompts: One text, or several.
        settings: The search.
        max_new_tokens, strip_prompt: As for `generation.generate`.
        overflow: `"refuse"` a prompt that is too long, or `"crop"` its beginning.

    Returns:
        A text for each prompt.

    Raises:
        TypeError: If a prompt is not a `str`.
        ValueError: If `k` is above the vocabulary's size, or if a prompt and its
            new tokens do not fit the context.
    """
    texts, token_ids, num_tokens, count = read_prompts(model, prompts, max_new_tokens, overflow)
    end_token_id = model.require_tokenizer().end_token_id
    found = contrastive_ids(
        model, token_ids, num_tokens, settings, max_new_tokens=count, end_token_id=end_token_id
    )
    return continued(model, texts, *found, strip_prompt=strip_prompt)
