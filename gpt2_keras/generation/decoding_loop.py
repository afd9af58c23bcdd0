"""The cached decoding loop: one for `generate`, `stream` and every export."""

from typing import Any, NamedTuple

import tensorflow as tf

from gpt2_keras.generation.logits_processors import NO_TOKEN, Constraints, History, constrain
from gpt2_keras.generation.sampling import SamplingTensors, choose
from gpt2_keras.model import GPT2Model


class Prefix(NamedTuple):
    """Text that all rows begin with and that is read already."""

    cache: Any  # as GPT2Model.make_cache makes it, of one row, as long as the text
    token_ids: Any  # int32 (length,)


class DecodingState(NamedTuple):
    """What a running generation is made of."""

    cache: Any  # as GPT2Model.make_cache makes it
    padding_mask: Any  # bool (batch, length), False left of each prompt
    cache_index: Any  # int32 (): number of positions in the cache
    history: History
    last_ids: Any  # int32 (batch,): the tokens drawn last
    last_log_probs: Any  # float32 (batch,): what the model gave them, in nats
    finished: Any  # bool (batch,): whether the row has drawn a stop id, or all it may


def start(
    model: GPT2Model,
    token_ids: Any,
    num_tokens: Any,
    sampling: SamplingTensors,
    constraints: Constraints,
    *,
    max_new_tokens: Any,
    prefix: Prefix | None = None,
    limits: Any = None,
) -> DecodingState:
    """Reads the prompts and draws each row's first token.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, each prompt at the right end of
            its row: a shared last column lets all rows write the cache at one
            place.
        num_tokens: Int32 tensor `(batch,)`: each prompt's length, at least 1.
        sampling: Each row's settings.
        constraints: Rules that all rows share.
        max_new_tokens: Int32 scalar: how many tokens may be drawn in all.
        prefix: What stands before every prompt.
        limits: Int32 tensor `(batch,)`: with how many tokens each row is finished,
            at least 0; by default never.

    Returns:
        The state after one token.
    """
    batch_size, time = tf.unstack(tf.shape(token_ids))
    padding = tf.expand_dims(time - num_tokens, 1)  # (batch, 1): columns left of each prompt
    columns = tf.expand_dims(tf.range(time + max_new_tokens), 0)  # (1, length)
    real = columns >= padding
    if limits is not None:
        # What a row draws past its limit is no text, and must not count as a position.
        real &= columns < time + tf.expand_dims(limits, 1)
    cache, prefix_length = model.make_cache(batch_size, time + max_new_tokens), 0
    history = tf.where(real[:, :time], token_ids, NO_TOKEN)
    if prefix is not None:
        prefix_length = tf.shape(prefix.token_ids)[0]
        real = tf.concat([tf.ones([batch_size, prefix_length], tf.bool), real], axis=1)
        cache = [
            tuple(
                tf.concat([tf.repeat(read, batch_size, axis=0), empty], axis=2)
                for read, empty in zip(read_pair, empty_pair, strict=True)
            )
            for read_pair, empty_pair in zip(prefix.cache, cache, strict=True)
        ]
        history = _with_prefix(history, padding, prefix.token_ids)
    logits, cache = model(
        token_ids,
        padding_mask=real,
        cache=cache,
        cache_index=prefix_length,
        num_logits=1,
        training=False,
    )
    unwritten = tf.fill([batch_size, max_new_tokens], NO_TOKEN)
    end = prefix_length + time
    state = DecodingState(
        cache,
        real,
        end,
        History(tf.concat([history, unwritten], axis=1), end, end),
        tf.zeros([batch_size], tf.int32),
        tf.zeros([batch_size]),
        tf.zeros([batch_size], tf.bool) if limits is None else limits < 1,
    )
    return draw(state, logits[:, 0], sampling, constraints, limits)


def advance(
    model: GPT2Model,
    state: DecodingState,
    sampling: SamplingTensors,
    constraints: Constraints,
    *,
    max_steps: Any,
    most_steps: int | None = None,
    limits: Any = None,
) -> tuple[tf.Tensor, tf.Tensor, DecodingState]:
    """Draws up to `max_steps` more tokens for each row, until all are finished.

    Args:
        model: The model.
        state: Where the generation stands. Its cache is overwritten: it must not
            be used again.
        sampling: Each row's settings.
        constraints: Rules that all rows share.
        max_steps: Int32 scalar, at least 0.
        most_steps: What `max_steps` is never above, if that is known: then the loop
            has tensors of fixed shapes only, which LiteRT does not allocate anew.
        limits: As for `start`.

    Returns:
        The new tokens, int32 `(batch, steps)`, their log-probabilities by the
        model, float32 `(batch, steps)`, and the new state. A finished row keeps
        drawing its stop id, with log-probability 0.
    """
    # One row more than steps: TensorFlow refuses to write to a tensor known to be empty.
    rows = (max_steps if most_steps is None else most_steps) + 1
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
        state = draw(state, logits[:, 0], sampling, constraints, limits)
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
    constraints: Constraints,
    *,
    limits: Any,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Continues prompts to the end: `start`, then `advance`.

    Args:
        model, token_ids, num_tokens, sampling, constraints: As for `start`.
        limits: Int32 tensor `(batch,)`: largest number of new tokens of each row,
            at least 0.

    Returns:
        The new tokens, int32 `(batch, steps)`, and how many of each row come
        before its end, int32 `(batch,)`: as many as its limit, or fewer if it
        drew a stop id.
    """
    most = tf.reduce_max(tf.concat([limits, [1]], axis=0))
    settings = (sampling, constraints)
    state = start(model, token_ids, num_tokens, *settings, max_new_tokens=most, limits=limits)
    first = tf.expand_dims(state.last_ids, 1)  # (batch, 1)
    rest, _, _ = advance(model, state, *settings, max_steps=most - 1, limits=limits)
    new_ids = tf.concat([first, rest], axis=1)  # (batch, steps)
    running = tf.math.cumprod(tf.cast(~_is_stop(new_ids, constraints), tf.int32), axis=1)
    return new_ids, tf.minimum(tf.reduce_sum(running, axis=1), limits)


def draw(
    state: DecodingState,
    logits: tf.Tensor,
    sampling: SamplingTensors,
    constraints: Constraints,
    limits: Any = None,
) -> DecodingState:
    """Draws each row's next token, and notes it.

    Args:
        state: Where the generation stands.
        logits: Float32 tensor `(batch, vocab)`: the model's, of the next token.
        sampling, constraints, limits: As for `start`.
    """
    history = state.history
    step = history.next_new - history.first_new
    ids = choose(constrain(logits, history, sampling, constraints), sampling, step)
    ids = tf.where(state.finished, constraints.stop_ids[0], ids)
    chosen = tf.gather(logits, ids, batch_dims=1)  # (batch,)
    log_probs = tf.where(state.finished, 0.0, chosen - tf.reduce_logsumexp(logits, axis=1))
    finished = state.finished | _is_stop(ids, constraints)
    if limits is not None:
        finished |= step + 1 >= limits
    rows = tf.range(tf.shape(ids)[0])
    places = tf.stack([rows, tf.fill(tf.shape(rows), history.next_new)], axis=1)
    written = tf.tensor_scatter_nd_update(history.token_ids, places, ids)
    return state._replace(
        history=history._replace(token_ids=written, next_new=history.next_new + 1),
        last_ids=ids,
        last_log_probs=log_probs,
        finished=finished,
    )


def _is_stop(ids: tf.Tensor, constraints: Constraints) -> tf.Tensor:
    """Marks the ids that finish a row."""
    return tf.reduce_any(tf.expand_dims(ids, -1) == constraints.stop_ids, axis=-1)


def _with_prefix(history: tf.Tensor, padding: tf.Tensor, prefix_ids: tf.Tensor) -> tf.Tensor:
    """Puts the prefix between each row's padding and its prompt."""
    batch_size, time = tf.unstack(tf.shape(history))
    length = tf.shape(prefix_ids)[0]
    wide = tf.concat([tf.fill([batch_size, length], NO_TOKEN), history], axis=1)
    columns = tf.expand_dims(tf.range(length + time), 0) - padding  # (batch, length + time)
    places = tf.clip_by_value(columns, 0, tf.maximum(length - 1, 0))
    # One more id, so that an empty prefix can be gathered from.
    inside = (columns >= 0) & (columns < length)
    return tf.where(inside, tf.gather(tf.concat([prefix_ids, [NO_TOKEN]], 0), places), wide)
