"""The cached decoding loop: one for `generate`, `stream` and every export."""

from typing import Any, NamedTuple

import tensorflow as tf

from gpt2_keras.generation.sampling import SamplingTensors, choose
from gpt2_keras.model import GPT2LM


class DecodingState(NamedTuple):
    """What a running generation is made of."""

    cache: Any  # as GPT2LM.make_cache makes it
    padding_mask: Any  # bool (batch, length), False left of each prompt
    cache_index: Any  # int32 (): number of positions in the cache
    step: Any  # int32 (): number of tokens drawn
    last_ids: Any  # int32 (batch,): the tokens drawn last
    finished: Any  # bool (batch,): whether the row has drawn the end token


def start(
    model: GPT2LM,
    token_ids: Any,
    num_tokens: Any,
    sampling: SamplingTensors,
    *,
    cache_length: Any,
    end_token_id: int,
) -> DecodingState:
    """Reads the prompts and draws each row's first token.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, each prompt at the right end of
            its row: a shared last column lets all rows write the cache at one
            place.
        num_tokens: Int32 tensor `(batch,)`: each prompt's length, at least 1.
        sampling: Each row's settings.
        cache_length: Largest number of positions, prompt and new tokens, that
            the generation will hold.
        end_token_id: The id that finishes a row.

    Returns:
        The state after one token.
    """
    batch_size, time = tf.unstack(tf.shape(token_ids))
    columns = tf.expand_dims(tf.range(cache_length), 0)  # (1, length)
    padding_mask = columns >= tf.expand_dims(time - num_tokens, 1)  # (batch, length)
    logits, cache = model(
        token_ids,
        padding_mask=padding_mask,
        cache=model.make_cache(batch_size, cache_length),
        num_logits=1,
        training=False,
    )
    ids = choose(logits[:, 0], sampling, 0)
    return DecodingState(cache, padding_mask, time, tf.constant(1), ids, ids == end_token_id)


def advance(
    model: GPT2LM,
    state: DecodingState,
    sampling: SamplingTensors,
    *,
    max_steps: Any,
    end_token_id: int,
) -> tuple[tf.Tensor, DecodingState]:
    """Draws up to `max_steps` more tokens for each row, until all are finished.

    Args:
        model: The model.
        state: Where the generation stands.
        sampling: Each row's settings.
        max_steps: Int32 scalar, at least 0.
        end_token_id: The id that finishes a row; a finished row keeps drawing it.

    Returns:
        The new tokens, int32 `(batch, steps)`, and the new state.
    """
    # One row more than steps: TensorFlow refuses to write to a tensor known to be empty.
    drawn = tf.zeros([max_steps + 1, tf.shape(state.last_ids)[0]], tf.int32)  # (steps + 1, batch)

    def step(
        count: tf.Tensor, drawn: tf.Tensor, state: DecodingState
    ) -> tuple[tf.Tensor, tf.Tensor, DecodingState]:
        logits, cache = model(
            tf.expand_dims(state.last_ids, 1),
            padding_mask=state.padding_mask,
            cache=state.cache,
            cache_index=state.cache_index,
            training=False,
        )
        ids = choose(logits[:, 0], sampling, state.step)
        ids = tf.where(state.finished, end_token_id, ids)
        finished = tf.logical_or(state.finished, ids == end_token_id)
        state = DecodingState(
            cache, state.padding_mask, state.cache_index + 1, state.step + 1, ids, finished
        )
        drawn = tf.tensor_scatter_nd_update(drawn, [[count]], [ids])
        return count + 1, drawn, state

    count, drawn, state = tf.while_loop(
        lambda count, _, state: (count < max_steps) & ~tf.reduce_all(state.finished),
        step,
        (tf.constant(0), drawn, state),
    )
    return tf.transpose(drawn[:count]), state


def decode(
    model: GPT2LM,
    token_ids: Any,
    num_tokens: Any,
    sampling: SamplingTensors,
    *,
    max_new_tokens: Any,
    end_token_id: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Continues prompts to the end: `start`, then `advance`.

    Args:
        model, token_ids, num_tokens, sampling, end_token_id: As for `start`.
        max_new_tokens: Int32 scalar, at least 1.

    Returns:
        The new tokens, int32 `(batch, steps)`, and how many of each row come
        before its end token, int32 `(batch,)`.
    """
    state = start(
        model,
        token_ids,
        num_tokens,
        sampling,
        cache_length=tf.shape(token_ids)[1] + max_new_tokens,
        end_token_id=end_token_id,
    )
    first = tf.expand_dims(state.last_ids, 1)  # (batch, 1)
    rest, _ = advance(
        model, state, sampling, max_steps=max_new_tokens - 1, end_token_id=end_token_id
    )
    new_ids = tf.concat([first, rest], axis=1)  # (batch, steps)
    return new_ids, count_before(new_ids, end_token_id)


def count_before(token_ids: tf.Tensor, end_token_id: int) -> tf.Tensor:
    """Counts each row's tokens before its first end token; (batch, time) → (batch,)."""
    running = tf.math.cumprod(tf.cast(token_ids != end_token_id, tf.int32), axis=1)
    return tf.reduce_sum(running, axis=1)
