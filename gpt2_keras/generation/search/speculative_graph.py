"""Speculative sampling inside the graph."""

from typing import Any

import tensorflow as tf

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
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
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
    batch_size, time = tf.unstack(tf.shape(token_ids))
    # The last round may begin one token before the end, and writes one column for each token.
    length = time + max_new_tokens + num_draft_tokens
    columns = tf.expand_dims(tf.range(length), 0)  # (1, length)

    def real(cache_index: Any, num_sampled: Any) -> tf.Tensor:
        """Returns the mask of each row's columns when those before `cache_index` are cached."""
        first = cache_index - (num_tokens + num_sampled - 1)  # all tokens but the last are cached
        # What is after the last token that can be asked for is padding: then no position is
        # beyond the context, and no such token is kept.
        last = first + num_tokens + max_new_tokens
        return (columns >= first[:, None]) & (columns < last[:, None])  # (batch, length)

    def body(
        num_rounds: tf.Tensor,
        caches: Any,
        num_sampled: tf.Tensor,
        new_ids: tf.Tensor,
        last_ids: tf.Tensor,
        finished: tf.Tensor,
    ) -> tuple[Any, ...]:
        cache_index = time + tf.reduce_max(num_sampled) - 1
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
            tf.concat([tf.expand_dims(last_ids, 1), proposed], axis=1),
            padding_mask=padding_mask,
            cache=cache,
            cache_index=cache_index,
            training=False,
        )  # (batch, n + 1, vocab)
        num_accepted, next_ids = _check(
            logits, draft_probs, proposed, sampling, counter + num_draft_tokens + 1
        )
        tokens = tf.concat([proposed, tf.expand_dims(next_ids, 1)], axis=1)  # (batch, n + 1)
        new_ids, is_new = _write(new_ids, tokens, num_sampled, num_accepted, finished)
        num_new = tf.where(finished, 0, num_accepted + 1)
        cached_end = cache_index + num_new  # (batch,)
        num_sampled = tf.minimum(num_sampled + num_new, max_new_tokens)
        finished |= num_sampled == max_new_tokens
        finished |= tf.reduce_any(is_new & is_any(new_ids, end_token_ids), axis=1)
        shifts = time + tf.reduce_max(num_sampled) - 1 - cached_end
        caches = _move((cache, draft_cache), shifts, length)
        return num_rounds + 1, caches, num_sampled, new_ids, next_ids, finished

    padding_mask = real(time, tf.ones_like(num_tokens))
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
    rest = tf.fill([batch_size, max_new_tokens - 1], end_token_ids[0])
    num_rounds, _, _, new_ids, _, _ = tf.while_loop(
        lambda *state: ~tf.reduce_all(state[-1]),
        body,
        (
            tf.constant(0),
            (cache, draft_cache),
            tf.ones_like(num_tokens),
            tf.concat([tf.expand_dims(first, 1), rest], axis=1),
            first,
            is_any(first, end_token_ids) | (max_new_tokens == 1),
        ),
    )
    counts = count_until(is_any(new_ids, end_token_ids))
    # A round may go on after an end token.
    new_ids = tf.where(tf.sequence_mask(counts, max_new_tokens), new_ids, end_token_ids[0])
    return new_ids, counts, num_rounds


def _propose(
    model: GPT2Model,
    last_ids: tf.Tensor,
    padding_mask: tf.Tensor,
    cache: Any,
    cache_index: tf.Tensor,
    sampling: SamplingTensors,
    counter: tf.Tensor,
    count: Any,
) -> tuple[tf.Tensor, tf.Tensor, Any]:
    """Samples `count` tokens after `last_ids`, with every one of them in the cache at the end.

    Returns the tokens, `(batch, count)`, the distributions that they were sampled from, `(batch,
    count, vocab)`, and the cache.
    """
    batch_size = tf.shape(last_ids)[0]
    probs = tf.TensorArray(tf.float32, count + 1)
    tokens = tf.TensorArray(tf.int32, count + 1)

    def body(
        step: tf.Tensor, ids: tf.Tensor, tokens: tf.TensorArray, probs: tf.TensorArray, cache: Any
    ) -> tuple[Any, ...]:
        logits, cache = model(
            tf.expand_dims(ids, 1),
            padding_mask=padding_mask,
            cache=cache,
            cache_index=cache_index + step,
            training=False,
        )
        row_probs = _probabilities(logits, sampling)[:, 0]  # (batch, vocab)
        ids = sample_ids(row_probs, uniform(sampling.seed, counter + step))
        return step + 1, ids, tokens.write(step, ids), probs.write(step, row_probs), cache

    # One step more than tokens: it only caches the last of them.
    _, _, tokens, probs, cache = tf.while_loop(
        lambda step, *_: step <= count, body, (tf.constant(0), last_ids, tokens, probs, cache)
    )
    vocab_size = model.config.vocab_size
    proposed = tf.reshape(tokens.stack()[:-1], [count, batch_size])
    draft_probs = tf.reshape(probs.stack()[:-1], [count, batch_size, vocab_size])
    return tf.transpose(proposed), tf.transpose(draft_probs, [1, 0, 2]), cache


def _write(
    new_ids: tf.Tensor,
    tokens: tf.Tensor,
    num_sampled: tf.Tensor,
    num_accepted: tf.Tensor,
    finished: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
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
    last = tf.shape(tokens)[1] - 1
    indices = tf.expand_dims(tf.range(tf.shape(new_ids)[1]), 0) - tf.expand_dims(num_sampled, 1)
    is_next = indices == tf.expand_dims(num_accepted, 1)  # (batch, max_new_tokens)
    origins = tf.where(is_next, last, tf.clip_by_value(indices, 0, last))
    is_new = (indices >= 0) & (indices <= tf.expand_dims(num_accepted, 1))
    is_new &= ~tf.expand_dims(finished, 1)
    return tf.where(is_new, tf.gather(tokens, origins, batch_dims=1), new_ids), is_new


def _check(
    logits: tf.Tensor,
    draft_probs: tf.Tensor,
    proposed: tf.Tensor,
    sampling: SamplingTensors,
    counter: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
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
    count = tf.shape(proposed)[1]
    probs = _probabilities(logits, sampling)  # (batch, n + 1, vocab)
    counters = tf.expand_dims(counter + tf.range(count), 0)  # (1, n)
    uniforms = uniform(tf.expand_dims(sampling.seed, 1), counters)  # (batch, n)
    wanted = tf.gather(probs[:, :-1], proposed, batch_dims=2)  # (batch, n)
    offered = tf.gather(draft_probs, proposed, batch_dims=2)
    accepted = tf.cast(uniforms * offered < wanted, tf.int32)
    num_accepted = tf.reduce_sum(tf.math.cumprod(accepted, axis=1), axis=1)  # (batch,)

    # After the last proposal the draft model has no distribution: nothing is taken off.
    draft_probs = tf.pad(draft_probs, [[0, 0], [0, 1], [0, 0]])
    row_probs = tf.gather(probs, num_accepted, batch_dims=1)  # (batch, vocab)
    left = tf.maximum(row_probs - tf.gather(draft_probs, num_accepted, batch_dims=1), 0.0)
    # Nothing is left only where both are the same but for rounding.
    nothing = tf.reduce_sum(left, axis=1, keepdims=True) == 0
    next_ids = sample_ids(
        tf.where(nothing, row_probs, left), uniform(sampling.seed, counter + count)
    )
    return num_accepted, next_ids


def _probabilities(logits: tf.Tensor, sampling: SamplingTensors) -> tf.Tensor:
    """Returns the distributions to sample from: float32 (batch, time, vocab), as the logits."""
    time, vocab_size = tf.shape(logits)[1], logits.shape[2]
    flat = tf.reshape(logits, [-1, vocab_size])  # (batch × time, vocab)
    repeated = SamplingTensors(*(tf.repeat(numbers, time) for numbers in sampling))
    most_likely = tf.one_hot(tf.argmax(flat, axis=1), vocab_size)
    greedy = tf.expand_dims(repeated.temperature == 0, 1)
    probs = tf.where(greedy, most_likely, probabilities(flat, repeated))
    return tf.reshape(probs, tf.shape(logits))


def _move(caches: Any, shifts: tf.Tensor, length: tf.Tensor) -> Any:
    """Moves the columns of each row to the right by its shift, `(batch,)`."""
    origins = tf.expand_dims(tf.range(length), 0) - tf.expand_dims(shifts, 1)  # (batch, length)
    origins = tf.clip_by_value(origins, 0, length - 1)

    def move(kept: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.gather(kept, origins, axis=2, batch_dims=1), kept.shape)

    return tf.cond(
        tf.reduce_any(shifts != 0),
        lambda: tf.nest.map_structure(move, caches),
        lambda: tf.nest.map_structure(tf.identity, caches),
    )
