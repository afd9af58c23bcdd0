"""Speculative sampling inside the graph."""

from typing import Any

from gpt2_keras.generation.arrays import Array, xp
from gpt2_keras.generation.padding import count_until, is_any
from gpt2_keras.generation.sampler import SamplingTensors
from gpt2_keras.generation.sampling import probabilities, sample_ids
from gpt2_keras.generation.stateless_random import uniform
from gpt2_keras.model import GPT2Model


def speculative_sample(
    model: GPT2Model,
    draft_model: GPT2Model,
    token_ids: Any,
    num_tokens: Any,
    sampling: SamplingTensors,
    num_draft_tokens: Any,
    max_new_tokens: Any,
    *,
    end_token_ids: tuple[int, ...],
) -> tuple[Array, Array, Array]:
    """Samples continuations of prompts with the help of a draft model.

    A round: the draft model samples n tokens, the i-th from its distribution `q_i`; one
    forward pass of the model over them gives `p_1 ... p_{n+1}`. The i-th is accepted with
    probability `min(1, p_i / q_i)`, if those before it were. After the accepted ones comes a
    token from `max(0, p - q)`, scaled to sum 1, at the first rejected position, or from
    `p_{n+1}` if there is none. The tokens have the distribution of samples of the model
    alone, whatever the draft model is; at temperature 0 they are its most likely ones.

    Rows accept different numbers of tokens, and the caches have one index for all.
    So after a round the cached columns of each row are moved until all rows end
    in the same column again; what was rejected is after that column, where
    the next round writes. Moving is exact, as positions are counted by the
    padding mask and not by the columns. A single row never moves.

    A row has `2 · num_draft_tokens + 2` random numbers per round, so that they depend on its
    seed and the round alone.

    Source: "Fast Inference from Transformers via Speculative Decoding" (Leviathan
    et al., 2023), algorithm 1; "Accelerating Large Language Model Decoding with
    Speculative Sampling" (Chen et al., 2023), algorithm 2.

    Args:
        model: The model.
        draft_model: The one that proposes, with the same tokens.
        token_ids: Int32 tensor `(batch, time)`, padded on the left.
        num_tokens: Int32 tensor `(batch,)`: each prompt's length, at least 1.
        sampling: Each row's settings, for both models; penalties are not applied.
        num_draft_tokens: Int32 scalar, at least 1.
        max_new_tokens: Int32 scalar, at least 1.
        end_token_ids: The ids that finish a row.

    Returns:
        New tokens, int32 `(batch, max_new_tokens)`, padded with the end token; the
        number of each row's tokens before its end token, int32 `(batch,)`; and the number of
        rounds, int32 `()`.
    """
    batch_size, time = xp.sizes(token_ids)
    # The last round may begin one token before the end, and writes one column for each token.
    length = time + max_new_tokens + num_draft_tokens
    columns = xp.expand_dims(xp.arange(length), 0)  # (1, length)

    def real(cache_index: Any, num_sampled: Any) -> Array:
        """Returns the mask of each row's columns when those before `cache_index` are cached."""
        first = cache_index - (num_tokens + num_sampled - 1)  # all tokens but the last are cached
        # What is after the last token that can be asked for is padding: then no position is
        # beyond the context, and no such token is kept.
        last = first + num_tokens + max_new_tokens
        return (columns >= first[:, None]) & (columns < last[:, None])  # (batch, length)

    def body(
        num_rounds: Array,
        caches: Any,
        num_sampled: Array,
        new_ids: Array,
        last_ids: Array,
        finished: Array,
    ) -> tuple[Any, ...]:
        cache_index = time + xp.max(num_sampled) - 1
        padding_mask = real(cache_index, num_sampled)
        counter = 1 + num_rounds * (2 * num_draft_tokens + 2)
        cache, draft_cache = caches
        proposed, draft_probs, draft_cache = _propose(
            draft_model,
            last_ids,
            padding_mask,
            draft_cache,
            cache_index,
            sampling,
            counter,
            num_draft_tokens,
        )
        logits, cache = model(
            xp.concat([xp.expand_dims(last_ids, 1), proposed], axis=1),
            padding_mask=padding_mask,
            cache=cache,
            cache_index=cache_index,
            training=False,
        )  # (batch, n + 1, vocab)
        num_accepted, next_ids = _check(
            logits, draft_probs, proposed, sampling, counter + num_draft_tokens + 1
        )
        tokens = xp.concat([proposed, xp.expand_dims(next_ids, 1)], axis=1)  # (batch, n + 1)
        new_ids, is_new = _write(new_ids, tokens, num_sampled, num_accepted, finished)
        num_new = xp.where(finished, 0, num_accepted + 1)
        cached_end = cache_index + num_new  # (batch,)
        num_sampled = xp.minimum(num_sampled + num_new, max_new_tokens)
        finished |= num_sampled == max_new_tokens
        finished |= xp.any(is_new & is_any(new_ids, end_token_ids), axis=1)
        shifts = time + xp.max(num_sampled) - 1 - cached_end
        caches = _move((cache, draft_cache), shifts, length)
        return num_rounds + 1, caches, num_sampled, new_ids, next_ids, finished

    padding_mask = real(time, xp.ones_like(num_tokens))
    (logits, cache), (_, draft_cache) = (
        reader(
            token_ids,
            padding_mask=padding_mask,
            cache=reader.make_cache(batch_size, length),
            num_logits=1,
            training=False,
        )
        for reader in (model, draft_model)
    )
    probs = _probabilities(logits, sampling)[:, 0]  # (batch, vocab)
    first = sample_ids(probs, uniform(sampling.seed, 0))  # (batch,)
    rest = xp.full([batch_size, max_new_tokens - 1], end_token_ids[0])
    num_rounds, _, _, new_ids, _, _ = xp.while_loop(
        lambda *state: ~xp.all(state[-1]),
        body,
        (
            xp.constant(0),
            (cache, draft_cache),
            xp.ones_like(num_tokens),
            xp.concat([xp.expand_dims(first, 1), rest], axis=1),
            first,
            is_any(first, end_token_ids) | (max_new_tokens == 1),
        ),
    )
    counts = count_until(is_any(new_ids, end_token_ids))
    # A round may go on after an end token.
    new_ids = xp.where(xp.sequence_mask(counts, max_new_tokens), new_ids, end_token_ids[0])
    return new_ids, counts, num_rounds


def _propose(
    model: GPT2Model,
    last_ids: Array,
    padding_mask: Array,
    cache: Any,
    cache_index: Array,
    sampling: SamplingTensors,
    counter: Array,
    count: Any,
) -> tuple[Array, Array, Any]:
    """Samples `count` tokens after `last_ids`, with every one of them in the cache at the end.

    Returns the tokens, `(batch, count)`, the distributions that they were sampled from, `(batch,
    count, vocab)`, and the cache.
    """
    batch_size = xp.shape(last_ids)[0]
    vocab_size = model.config.vocab_size
    probs = xp.Rows.empty("float32", count + 1, (batch_size, vocab_size))
    tokens = xp.Rows.empty("int32", count + 1, (batch_size,))

    def body(step: Array, ids: Array, tokens: Any, probs: Any, cache: Any) -> tuple[Any, ...]:
        logits, cache = model(
            xp.expand_dims(ids, 1),
            padding_mask=padding_mask,
            cache=cache,
            cache_index=cache_index + step,
            training=False,
        )
        row_probs = _probabilities(logits, sampling)[:, 0]  # (batch, vocab)
        ids = sample_ids(row_probs, uniform(sampling.seed, counter + step))
        return (
            step + 1,
            ids,
            xp.Rows.write(tokens, step, ids),
            xp.Rows.write(probs, step, row_probs),
            cache,
        )

    # One step more than tokens: it only caches the last of them.
    _, _, tokens, probs, cache = xp.while_loop(
        lambda step, *_: step <= count, body, (xp.constant(0), last_ids, tokens, probs, cache)
    )
    proposed = xp.reshape(xp.Rows.stack(tokens)[:-1], [count, batch_size])
    draft_probs = xp.reshape(xp.Rows.stack(probs)[:-1], [count, batch_size, vocab_size])
    return xp.transpose(proposed), xp.transpose(draft_probs, [1, 0, 2]), cache


def _write(
    new_ids: Array,
    tokens: Array,
    num_sampled: Array,
    num_accepted: Array,
    finished: Array,
) -> tuple[Array, Array]:
    """Writes the tokens of a round, those accepted and the one after them, to unfinished rows.

    Args:
        new_ids: Int32 `(batch, max_new_tokens)`.
        tokens: The n proposals and the token that follows those accepted, int32 `(batch, n + 1)`.
        num_sampled: The number of tokens in each row, int32 `(batch,)`.
        num_accepted: The number of proposals accepted, int32 `(batch,)`.
        finished: Bool `(batch,)`.

    Returns:
        The new tokens so far, and which of them are of this round, bool of the same shape.
    """
    last = xp.shape(tokens)[1] - 1
    indices = xp.expand_dims(xp.arange(xp.shape(new_ids)[1]), 0) - xp.expand_dims(num_sampled, 1)
    is_next = indices == xp.expand_dims(num_accepted, 1)  # (batch, max_new_tokens)
    origins = xp.where(is_next, last, xp.clip(indices, 0, last))
    is_new = (indices >= 0) & (indices <= xp.expand_dims(num_accepted, 1))
    is_new &= ~xp.expand_dims(finished, 1)
    return xp.where(is_new, xp.gather(tokens, origins, batch_dims=1), new_ids), is_new


def _check(
    logits: Array,
    draft_probs: Array,
    proposed: Array,
    sampling: SamplingTensors,
    counter: Array,
) -> tuple[Array, Array]:
    """Accepts proposals, and samples the token after the accepted ones.

    Args:
        logits: The model's, float32 `(batch, n + 1, vocab)`.
        draft_probs: The distributions that they were sampled from, float32 `(batch, n, vocab)`.
        proposed: Int32 `(batch, n)`.
        sampling: Each row's settings.
        counter: Number of random numbers used before; n + 1 are used here.

    Returns:
        The number accepted and the next token, both int32 `(batch,)`.
    """
    count = xp.shape(proposed)[1]
    probs = _probabilities(logits, sampling)  # (batch, n + 1, vocab)
    counters = xp.expand_dims(counter + xp.arange(count), 0)  # (1, n)
    uniforms = uniform(xp.expand_dims(sampling.seed, 1), counters)  # (batch, n)
    wanted = xp.gather(probs[:, :-1], proposed, batch_dims=2)  # (batch, n)
    offered = xp.gather(draft_probs, proposed, batch_dims=2)
    accepted = xp.cast(uniforms * offered < wanted, "int32")
    num_accepted = xp.sum(xp.cumprod(accepted, axis=1), axis=1)  # (batch,)

    # After the last proposal the draft model has no distribution: nothing is taken off.
    draft_probs = xp.pad(draft_probs, [[0, 0], [0, 1], [0, 0]])
    row_probs = xp.gather(probs, num_accepted, batch_dims=1)  # (batch, vocab)
    left = xp.maximum(row_probs - xp.gather(draft_probs, num_accepted, batch_dims=1), 0.0)
    # Nothing is left only where both are the same but for rounding.
    nothing = xp.sum(left, axis=1, keepdims=True) == 0
    next_ids = sample_ids(
        xp.where(nothing, row_probs, left), uniform(sampling.seed, counter + count)
    )
    return num_accepted, next_ids


def _probabilities(logits: Array, sampling: SamplingTensors) -> Array:
    """Returns the distributions to sample from: float32 (batch, time, vocab), as the logits."""
    time, vocab_size = xp.shape(logits)[1], logits.shape[2]
    flat = xp.reshape(logits, [-1, vocab_size])  # (batch × time, vocab)
    repeated = SamplingTensors(*(xp.repeat(numbers, time) for numbers in sampling))
    most_likely = xp.one_hot(xp.argmax(flat, axis=1), vocab_size)
    greedy = xp.expand_dims(repeated.temperature == 0, 1)
    probs = xp.where(greedy, most_likely, probabilities(flat, repeated))
    return xp.reshape(probs, xp.shape(logits))


def _move(caches: Any, shifts: Array, length: Array) -> Any:
    """Moves the columns of each row to the right by its shift, `(batch,)`."""
    origins = xp.expand_dims(xp.arange(length), 0) - xp.expand_dims(shifts, 1)  # (batch, length)
    origins = xp.clip(origins, 0, length - 1)

    def move(kept: Array) -> Array:
        return xp.same_shape(xp.gather(kept, origins, axis=2, batch_dims=1), kept)

    return xp.cond(
        xp.any(shifts != 0),
        lambda: xp.map_structure(move, caches),
        lambda: xp.map_structure(xp.identity, caches),
    )
