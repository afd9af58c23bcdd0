"""The cached decoding loop: one for `generate`, `stream` and every export."""

from typing import Any, NamedTuple

import tensorflow as tf

from gpt2_keras.generation.logits_processors import (
    NO_TOKEN,
    History,
    ProcessorTensors,
    process_logits,
)
from gpt2_keras.generation.padding import count_until, is_any, left_padding_mask
from gpt2_keras.generation.sampler import SamplingTensors
from gpt2_keras.generation.sampling import choose
from gpt2_keras.model import GPT2Model


class Prefix(NamedTuple):
    """A prefix of all rows whose keys and values are cached already."""

    cache: Any  # of GPT2Model.make_cache, with one row, as long as the prefix
    token_ids: Any  # int32 (length,)


class DecodingState(NamedTuple):
    """The state of the decoding loop."""

    cache: Any  # of GPT2Model.make_cache
    padding_mask: Any  # bool (batch, length), False left of each prompt
    cache_index: Any  # int32 (): number of positions in the cache
    history: History
    last_ids: Any  # int32 (batch,): the tokens sampled last
    last_log_probs: Any  # float32 (batch,): their log-probabilities, in nats
    finished: Any  # bool (batch,): whether the row has sampled a stop id or reached its limit


def start(
    model: GPT2Model,
    token_ids: Any,
    num_tokens: Any,
    sampling: SamplingTensors,
    processors: ProcessorTensors,
    max_new_tokens: Any,
    prefix: Prefix | None = None,
    limits: Any = None,
) -> DecodingState:
    """Prefills the cache with the prompts and samples the first token of each row.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, padded on the left: a shared last column
            lets all rows write to the cache at one index.
        num_tokens: Int32 tensor `(batch,)`: each prompt's length, at least 1.
        sampling: Each row's settings.
        processors: The logits processors, which all rows share.
        max_new_tokens: Int32 scalar: largest number of tokens to sample in all.
        prefix: The prefix of every prompt.
        limits: Int32 tensor `(batch,)`: number of tokens after which each row is finished,
            at least 0; by default there is no such limit.

    Returns:
        The state after one token.
    """
    batch_size, time = tf.unstack(tf.shape(token_ids))
    padding_mask = left_padding_mask(num_tokens, time, time + max_new_tokens)  # (batch, length)
    if limits is not None:
        # Columns past a row's limit hold no text; they are masked as padding is.
        columns = tf.expand_dims(tf.range(time + max_new_tokens), 0)  # (1, length)
        padding_mask &= columns < time + tf.expand_dims(limits, 1)
    cache, prefix_length = model.make_cache(batch_size, time + max_new_tokens), 0
    history = tf.where(padding_mask[:, :time], token_ids, NO_TOKEN)
    if prefix is not None:
        prefix_length = tf.shape(prefix.token_ids)[0]
        prefix_mask = tf.ones([batch_size, prefix_length], tf.bool)
        padding_mask = tf.concat([prefix_mask, padding_mask], axis=1)
        cache = [
            tuple(
                tf.concat([tf.repeat(cached, batch_size, axis=0), empty], axis=2)
                for cached, empty in zip(cached_pair, empty_pair, strict=True)
            )
            for cached_pair, empty_pair in zip(prefix.cache, cache, strict=True)
        ]
        padding = tf.expand_dims(time - num_tokens, 1)  # (batch, 1): columns of padding
        history = _with_prefix(history, padding, prefix.token_ids)
    logits, cache = model(
        token_ids,
        padding_mask=padding_mask,
        cache=cache,
        cache_index=prefix_length,
        num_logits=1,
        training=False,
    )
    unwritten = tf.fill([batch_size, max_new_tokens], NO_TOKEN)
    end = prefix_length + time
    state = DecodingState(
        cache,
        padding_mask,
        end,
        History(tf.concat([history, unwritten], axis=1), end, end),
        tf.zeros([batch_size], tf.int32),
        tf.zeros([batch_size]),
        tf.zeros([batch_size], tf.bool) if limits is None else limits < 1,
    )
    return sample(state, logits[:, 0], sampling, processors, limits)


def advance(
    model: GPT2Model,
    state: DecodingState,
    sampling: SamplingTensors,
    processors: ProcessorTensors,
    max_steps: Any,
    static_max_steps: int | None = None,
    limits: Any = None,
) -> tuple[tf.Tensor, tf.Tensor, DecodingState]:
    """Samples up to `max_steps` more tokens for each row, until all are finished.

    Args:
        model: The model.
        state: The state so far. Its cache is overwritten: it must not be used again.
        sampling: Each row's settings.
        processors: The logits processors, which all rows share.
        max_steps: Int32 scalar, at least 0.
        static_max_steps: An upper bound of `max_steps` known when the graph is built: then
            the loop has tensors of fixed shapes only, which LiteRT does not allocate again.
        limits: As for `start`.

    Returns:
        The new tokens, int32 `(batch, steps)`, their log-probabilities by the
        model, float32 `(batch, steps)`, and the new state. A finished row goes on
        with its stop id, of log-probability 0.
    """
    # One row more than steps: TensorFlow does not write to a tensor known to be empty.
    rows = (max_steps if static_max_steps is None else static_max_steps) + 1
    shape = [rows, tf.shape(state.last_ids)[0]]  # (steps + 1, batch)
    ids, log_probs = tf.zeros(shape, tf.int32), tf.zeros(shape)

    def step(count: tf.Tensor, ids: tf.Tensor, log_probs: tf.Tensor, state: DecodingState) -> Any:
        logits, cache = model(
            tf.expand_dims(state.last_ids, 1),
            padding_mask=state.padding_mask,
            cache=state.cache,
            cache_index=state.cache_index,
            overwrite_cache=True,
            num_logits=1,
            training=False,
        )
        state = state._replace(cache=cache, cache_index=state.cache_index + 1)
        state = sample(state, logits[:, 0], sampling, processors, limits)
        ids = tf.tensor_scatter_nd_update(ids, [[count]], [state.last_ids])
        log_probs = tf.tensor_scatter_nd_update(log_probs, [[count]], [state.last_log_probs])
        return count + 1, ids, log_probs, state

    count, ids, log_probs, state = tf.while_loop(
        lambda count, _ids, _log_probs, state: (count < max_steps) & ~tf.reduce_all(state.finished),
        step,
        (tf.constant(0), ids, log_probs, state),
    )
    return tf.transpose(ids[:count]), tf.transpose(log_probs[:count]), state


def decode(
    model: GPT2Model,
    token_ids: Any,
    num_tokens: Any,
    sampling: SamplingTensors,
    processors: ProcessorTensors,
    *,
    limits: Any,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Continues prompts to the end: `start`, then `advance`.

    Args:
        model, token_ids, num_tokens, sampling, processors: As for `start`.
        limits: Int32 tensor `(batch,)`: largest number of new tokens of each row,
            at least 0.

    Returns:
        The new tokens, int32 `(batch, steps)`, and the number of each row's tokens before
        its end, int32 `(batch,)`: its limit, or fewer if it sampled a stop id.
    """
    max_new_tokens = tf.reduce_max(tf.concat([limits, [1]], axis=0))
    settings = (sampling, processors)
    state = start(model, token_ids, num_tokens, *settings, max_new_tokens, limits=limits)
    first = tf.expand_dims(state.last_ids, 1)  # (batch, 1)
    rest, _, _ = advance(model, state, *settings, max_new_tokens - 1, limits=limits)
    new_ids = tf.concat([first, rest], axis=1)  # (batch, steps)
    return new_ids, tf.minimum(count_until(is_any(new_ids, processors.stop_ids)), limits)


def sample(
    state: DecodingState,
    logits: tf.Tensor,
    sampling: SamplingTensors,
    processors: ProcessorTensors,
    limits: Any = None,
) -> DecodingState:
    """Samples the next token of each row, and adds it to the state.

    Args:
        state: The state so far.
        logits: Float32 tensor `(batch, vocab)`: the model's, of the next token.
        sampling, processors, limits: As for `start`.
    """
    history = state.history
    step = history.next_new - history.first_new
    ids = choose(process_logits(logits, history, sampling, processors), sampling, step)
    ids = tf.where(state.finished, processors.stop_ids[0], ids)
    chosen = tf.gather(logits, ids, batch_dims=1)  # (batch,)
    log_probs = tf.where(state.finished, 0.0, chosen - tf.reduce_logsumexp(logits, axis=1))
    finished = state.finished | is_any(ids, processors.stop_ids)
    if limits is not None:
        finished |= step + 1 >= limits
    rows = tf.range(tf.shape(ids)[0])
    indices = tf.stack([rows, tf.fill(tf.shape(rows), history.next_new)], axis=1)
    written = tf.tensor_scatter_nd_update(history.token_ids, indices, ids)
    return state._replace(
        history=history._replace(token_ids=written, next_new=history.next_new + 1),
        last_ids=ids,
        last_log_probs=log_probs,
        finished=finished,
    )


def _with_prefix(history: tf.Tensor, padding: tf.Tensor, prefix_ids: tf.Tensor) -> tf.Tensor:
    """Returns the history with the prefix between the padding and the prompt of each row."""
    batch_size, time = tf.unstack(tf.shape(history))
    length = tf.shape(prefix_ids)[0]
    wide = tf.concat([tf.fill([batch_size, length], NO_TOKEN), history], axis=1)
    columns = tf.expand_dims(tf.range(length + time), 0) - padding  # (batch, length + time)
    indices = tf.clip_by_value(columns, 0, tf.maximum(length - 1, 0))
    # One more id, so that an empty prefix can be gathered from.
    inside = (columns >= 0) & (columns < length)
    return tf.where(inside, tf.gather(tf.concat([prefix_ids, [NO_TOKEN]], 0), indices), wide)
