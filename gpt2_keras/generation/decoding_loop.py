"""The cached decoding loop: one for `generate`, `stream` and every export."""

from typing import Any, NamedTuple

from gpt2_keras.generation.arrays import Array, xp
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
    batch_size, time = xp.sizes(token_ids)
    padding_mask = left_padding_mask(num_tokens, time, time + max_new_tokens)  # (batch, length)
    if limits is not None:
        # Columns past a row's limit hold no text; they are masked as padding is.
        columns = xp.expand_dims(xp.arange(time + max_new_tokens), 0)  # (1, length)
        padding_mask &= columns < time + xp.expand_dims(limits, 1)
    cache, prefix_length = model.make_cache(batch_size, time + max_new_tokens), 0
    history = xp.where(padding_mask[:, :time], token_ids, NO_TOKEN)
    if prefix is not None:
        prefix_length = xp.shape(prefix.token_ids)[0]
        prefix_mask = xp.ones([batch_size, prefix_length], "bool")
        padding_mask = xp.concat([prefix_mask, padding_mask], axis=1)
        cache = [
            tuple(
                xp.concat([xp.repeat(cached, batch_size, axis=0), empty], axis=2)
                for cached, empty in zip(cached_pair, empty_pair, strict=True)
            )
            for cached_pair, empty_pair in zip(prefix.cache, cache, strict=True)
        ]
        padding = xp.expand_dims(time - num_tokens, 1)  # (batch, 1): columns of padding
        history = _with_prefix(history, padding, prefix.token_ids)
    logits, cache = model(
        token_ids,
        padding_mask=padding_mask,
        cache=cache,
        cache_index=prefix_length,
        num_logits=1,
        training=False,
    )
    unwritten = xp.full([batch_size, max_new_tokens], NO_TOKEN)
    end = xp.cast(prefix_length + time, "int32")
    state = DecodingState(
        cache,
        padding_mask,
        end,
        History(xp.concat([history, unwritten], axis=1), end, end),
        xp.zeros([batch_size], "int32"),
        xp.zeros([batch_size]),
        xp.zeros([batch_size], "bool") if limits is None else limits < 1,
    )
    return sample(state, logits[:, 0], sampling, processors, limits)


def prefill(model: GPT2Model, token_ids: Any, prefix: Prefix) -> Any:
    """Returns the cache of a prefix and of a text after it, int32 `(1, time)`, not empty."""
    empty = model.make_cache(1, xp.shape(token_ids)[1])
    cache = [
        tuple(xp.concat(parts, axis=2) for parts in zip(*pairs, strict=True))
        for pairs in zip(prefix.cache, empty, strict=True)
    ]
    start = xp.shape(prefix.token_ids)[0]
    _, cache = model(token_ids, cache=cache, cache_index=start, num_logits=1, training=False)
    return cache


def advance(
    model: GPT2Model,
    state: DecodingState,
    sampling: SamplingTensors,
    processors: ProcessorTensors,
    max_steps: Any,
    static_max_steps: int | None = None,
    limits: Any = None,
) -> tuple[Array, Array, DecodingState]:
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
    shape = [rows, xp.shape(state.last_ids)[0]]  # (steps + 1, batch)
    ids, log_probs = xp.zeros(shape, "int32"), xp.zeros(shape)

    def step(count: Array, ids: Array, log_probs: Array, state: DecodingState) -> Any:
        logits, cache = model(
            xp.expand_dims(state.last_ids, 1),
            padding_mask=state.padding_mask,
            cache=state.cache,
            cache_index=state.cache_index,
            overwrite_cache=True,
            num_logits=1,
            training=False,
        )
        state = state._replace(cache=cache, cache_index=state.cache_index + 1)
        state = sample(state, logits[:, 0], sampling, processors, limits)
        ids = xp.write_row(ids, count, state.last_ids)
        log_probs = xp.write_row(log_probs, count, state.last_log_probs)
        return count + 1, ids, log_probs, state

    count, ids, log_probs, state = xp.while_loop(
        lambda count, _ids, _log_probs, state: (count < max_steps) & ~xp.all(state.finished),
        step,
        (xp.constant(0), ids, log_probs, state),
    )
    return xp.transpose(xp.leading(ids, count)), xp.transpose(xp.leading(log_probs, count)), state


def decode(
    model: GPT2Model,
    token_ids: Any,
    num_tokens: Any,
    sampling: SamplingTensors,
    processors: ProcessorTensors,
    *,
    limits: Any,
) -> tuple[Array, Array]:
    """Continues prompts to the end: `start`, then `advance`.

    Args:
        model, token_ids, num_tokens, sampling, processors: As for `start`.
        limits: Int32 tensor `(batch,)`: largest number of new tokens of each row,
            at least 0.

    Returns:
        The new tokens, int32 `(batch, steps)`, and the number of each row's tokens before
        its end, int32 `(batch,)`: its limit, or fewer if it sampled a stop id.
    """
    max_new_tokens = xp.max(xp.concat([limits, [1]], axis=0))
    settings = (sampling, processors)
    state = start(model, token_ids, num_tokens, *settings, max_new_tokens, limits=limits)
    first = xp.expand_dims(state.last_ids, 1)  # (batch, 1)
    rest, _, _ = advance(model, state, *settings, max_new_tokens - 1, limits=limits)
    new_ids = xp.concat([first, rest], axis=1)  # (batch, steps)
    return new_ids, xp.minimum(count_until(is_any(new_ids, processors.stop_ids)), limits)


def sample(
    state: DecodingState,
    logits: Array,
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
    ids = xp.where(state.finished, processors.stop_ids[0], ids)
    chosen = xp.gather(logits, ids, batch_dims=1)  # (batch,)
    log_probs = xp.where(state.finished, 0.0, chosen - xp.logsumexp(logits, axis=1))
    finished = state.finished | is_any(ids, processors.stop_ids)
    if limits is not None:
        finished |= step + 1 >= limits
    written = xp.write_column(history.token_ids, history.next_new, ids)
    return state._replace(
        history=history._replace(token_ids=written, next_new=history.next_new + 1),
        last_ids=ids,
        last_log_probs=log_probs,
        finished=finished,
    )


def _with_prefix(history: Array, padding: Array, prefix_ids: Array) -> Array:
    """Returns the history with the prefix between the padding and the prompt of each row."""
    batch_size, time = xp.sizes(history)
    length = xp.shape(prefix_ids)[0]
    wide = xp.concat([xp.full([batch_size, length], NO_TOKEN), history], axis=1)
    columns = xp.expand_dims(xp.arange(length + time), 0) - padding  # (batch, length + time)
    indices = xp.clip(columns, 0, xp.maximum(length - 1, 0))
    # One more id, so that an empty prefix can be gathered from.
    inside = (columns >= 0) & (columns < length)
    return xp.where(inside, xp.gather(xp.concat([prefix_ids, [NO_TOKEN]], 0), indices), wide)
