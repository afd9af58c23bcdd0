"""Speculative sampling: a small model proposes tokens, the large one checks them at once."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gpt2_keras.generation.compiled import COUNTS, IDS, INTEGER, kept_trace, traced
from gpt2_keras.generation.prompts import check_room, continued, count_before, read_prompts
from gpt2_keras.generation.sampling import (
    Sampler,
    SamplingTensors,
    probabilities,
    sampling_specs,
    sampling_tensors,
)
from gpt2_keras.generation.stateless_random import uniform
from gpt2_keras.model import GPT2Model


@dataclasses.dataclass(frozen=True)
class Speculative:
    """Draws as a `Sampler` with the same numbers would, in fewer steps of the model.

    Args:
        draft_model: A faster model with the same tokens. The closer its
            probabilities, the more of its proposals are taken.
        num_draft_tokens: How many tokens it proposes before each step of the
            model, at least 1.
        temperature, top_k, top_p: As for `Sampler`.

    Raises:
        TypeError: If `draft_model` is no `GPT2LM`.
        ValueError: If a number is out of its range.
    """

    draft_model: GPT2Model
    num_draft_tokens: int = 4
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.draft_model, GPT2Model):
            raise TypeError(
                "`draft_model` must be a GPT2Model. "
                f"Received: draft_model={self.draft_model!r}. "
                "Load it with `GPT2LM.from_preset(...)`."
            )
        if not isinstance(self.num_draft_tokens, int) or self.num_draft_tokens < 1:
            raise ValueError(
                "`num_draft_tokens` must be an integer of at least 1. "
                f"Received: num_draft_tokens={self.num_draft_tokens!r}."
            )
        _ = self.sampler  # which checks the others

    @property
    def sampler(self) -> Sampler:
        """The sampler whose distribution is drawn from."""
        return Sampler(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)


def speculative_sample(
    model: GPT2Model,
    draft_model: GPT2Model,
    token_ids: Any,
    num_tokens: Any,
    sampling: SamplingTensors,
    *,
    num_draft_tokens: Any,
    max_new_tokens: Any,
    end_token_id: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws continuations of prompts with the help of a draft model.

    A round: the draft model draws n tokens, the i-th from its distribution
    `q_i`; one forward pass of the model over them gives `p_1 ... p_{n+1}`. The
    i-th is accepted with probability `min(1, p_i / q_i)`, if those before it
    were. After the accepted ones comes a token from `max(0, p - q)`, scaled to
    sum 1, of the first rejected place, or from `p_{n+1}` if there is none. The
    tokens have the distribution of draws from the model alone, whatever the draft
    model is; at temperature 0 they are its likeliest ones.

    Rows accept different numbers of tokens, and the caches have one index for all.
    So after a round the cached columns of each row are moved until all rows end
    in the same column again; what was rejected is left behind that column, where
    the next round writes. Moving is exact, as positions are counted by the
    padding mask and not by the columns. A single row never moves.

    A row draws `2 · num_draft_tokens + 2` random numbers a round, so that they
    depend on its seed and the round alone.

    Source: "Fast Inference from Transformers via Speculative Decoding" (Leviathan
    et al., 2023), algorithm 1; "Accelerating Large Language Model Decoding with
    Speculative Sampling" (Chen et al., 2023), algorithm 2.

    Args:
        model: The model.
        draft_model: The one that proposes, with the same tokens.
        token_ids: Int32 tensor `(batch, time)`, each prompt at the right end of
            its row.
        num_tokens: Int32 tensor `(batch,)`: each prompt's length, at least 1.
        sampling: Each row's settings, for both models; penalties are left out.
        num_draft_tokens: Int32 scalar, at least 1.
        max_new_tokens: Int32 scalar, at least 1.
        end_token_id: The id that finishes a row.

    Returns:
        New tokens, int32 `(batch, max_new_tokens)`, filled up with the end token;
        how many of each row come before its end token, int32 `(batch,)`; and the
        number of rounds, int32 `()`.
    """
    batch_size, time = tf.unstack(tf.shape(token_ids))
    # The last round may begin one token before the end, and writes one column a token it reads.
    length = time + max_new_tokens + num_draft_tokens
    columns = tf.expand_dims(tf.range(length), 0)  # (1, length)

    def real(cache_index: Any, num_drawn: Any) -> tf.Tensor:
        """Marks each row's columns when those before `cache_index` are cached."""
        first = cache_index - (num_tokens + num_drawn - 1)  # all tokens but the last are cached
        # What lies behind the last token that can be asked for is padding: then no position
        # is beyond the context, and no such token is kept.
        last = first + num_tokens + max_new_tokens
        return (columns >= first[:, None]) & (columns < last[:, None])  # (batch, length)

    def read(reader: GPT2Model) -> tuple[tf.Tensor, Any]:
        return reader(
            token_ids,
            padding_mask=real(time, tf.ones_like(num_tokens)),
            cache=reader.make_cache(batch_size, length),
            num_logits=1,
            training=False,
        )

    def body(
        num_rounds: tf.Tensor,
        caches: Any,
        num_drawn: tf.Tensor,
        drawn: tf.Tensor,
        last_ids: tf.Tensor,
        finished: tf.Tensor,
    ) -> tuple[Any, ...]:
        cache_index = time + tf.reduce_max(num_drawn) - 1
        padding_mask = real(cache_index, num_drawn)
        counter = 1 + num_rounds * (2 * num_draft_tokens + 2)
        cache, draft_cache = caches
        proposed, draft_shares, draft_cache = _propose(
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
            logits, draft_shares, proposed, sampling, counter + num_draft_tokens + 1
        )

        # The tokens of this round: those accepted, and the one after them.
        places = tf.expand_dims(tf.range(max_new_tokens), 0) - tf.expand_dims(num_drawn, 1)
        tokens = tf.concat([proposed, tf.expand_dims(next_ids, 1)], axis=1)  # (batch, n + 1)
        is_next = places == tf.expand_dims(num_accepted, 1)  # (batch, max_new_tokens)
        kept = tf.where(is_next, num_draft_tokens, tf.clip_by_value(places, 0, num_draft_tokens))
        new = (places >= 0) & (places <= tf.expand_dims(num_accepted, 1))
        new &= ~tf.expand_dims(finished, 1)
        drawn = tf.where(new, tf.gather(tokens, kept, batch_dims=1), drawn)

        num_new = tf.where(finished, 0, num_accepted + 1)
        cached_end = cache_index + num_new  # (batch,)
        num_drawn = tf.minimum(num_drawn + num_new, max_new_tokens)
        finished |= num_drawn == max_new_tokens
        finished |= tf.reduce_any(new & (drawn == end_token_id), axis=1)
        shifts = time + tf.reduce_max(num_drawn) - 1 - cached_end
        caches = _move((cache, draft_cache), shifts, length)
        return num_rounds + 1, caches, num_drawn, drawn, next_ids, finished

    logits, cache = read(model)
    _, draft_cache = read(draft_model)
    first = _draw(_shares(logits, sampling)[:, 0], uniform(sampling.seed, 0))  # (batch,)
    rest = tf.fill([batch_size, max_new_tokens - 1], end_token_id)
    num_rounds, _, _, drawn, _, _ = tf.while_loop(
        lambda *state: ~tf.reduce_all(state[-1]),
        body,
        (
            tf.constant(0),
            (cache, draft_cache),
            tf.ones_like(num_tokens),
            tf.concat([tf.expand_dims(first, 1), rest], axis=1),
            first,
            (first == end_token_id) | (max_new_tokens == 1),
        ),
    )
    counts = count_before(drawn, end_token_id)
    # A round may go on behind an end token.
    drawn = tf.where(tf.sequence_mask(counts, max_new_tokens), drawn, end_token_id)
    return drawn, counts, num_rounds


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
    """Draws `count` tokens after `last_ids`, with every one of them in the cache at the end.

    Returns the tokens `(batch, count)`, the shares they were drawn from, `(batch, count, vocab)`,
    and the cache.
    """
    batch_size = tf.shape(last_ids)[0]
    shares = tf.TensorArray(tf.float32, count + 1)
    tokens = tf.TensorArray(tf.int32, count + 1)

    def body(
        step: tf.Tensor, ids: tf.Tensor, tokens: tf.TensorArray, shares: tf.TensorArray, cache: Any
    ) -> tuple[Any, ...]:
        logits, cache = model(
            tf.expand_dims(ids, 1),
            padding_mask=padding_mask,
            cache=cache,
            cache_index=cache_index + step,
            training=False,
        )
        share = _shares(logits, sampling)[:, 0]  # (batch, vocab)
        ids = _draw(share, uniform(sampling.seed, counter + step))
        return step + 1, ids, tokens.write(step, ids), shares.write(step, share), cache

    # One step more than tokens: it only caches the last of them.
    _, _, tokens, shares, cache = tf.while_loop(
        lambda step, *_: step <= count, body, (tf.constant(0), last_ids, tokens, shares, cache)
    )
    vocab_size = model.config.vocab_size
    proposed = tf.reshape(tokens.stack()[:-1], [count, batch_size])
    draft_shares = tf.reshape(shares.stack()[:-1], [count, batch_size, vocab_size])
    return tf.transpose(proposed), tf.transpose(draft_shares, [1, 0, 2]), cache


def _check(
    logits: tf.Tensor,
    draft_shares: tf.Tensor,
    proposed: tf.Tensor,
    sampling: SamplingTensors,
    counter: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Accepts proposals, and draws the token after the accepted ones.

    Args:
        logits: The model's, float32 `(batch, n + 1, vocab)`.
        draft_shares: What the proposals were drawn from, float32 `(batch, n, vocab)`.
        proposed: Int32 `(batch, n)`.
        sampling: Each row's settings.
        counter: How many random numbers were drawn before; n + 1 are drawn here.

    Returns:
        The number accepted and the next token, both int32 `(batch,)`.
    """
    count = tf.shape(proposed)[1]
    shares = _shares(logits, sampling)  # (batch, n + 1, vocab)
    counters = tf.expand_dims(counter + tf.range(count), 0)  # (1, n)
    chances = uniform(tf.expand_dims(sampling.seed, 1), counters)  # (batch, n)
    wanted = tf.gather(shares[:, :-1], proposed, batch_dims=2)  # (batch, n)
    offered = tf.gather(draft_shares, proposed, batch_dims=2)
    accepted = tf.cast(chances * offered < wanted, tf.int32)
    num_accepted = tf.reduce_sum(tf.math.cumprod(accepted, axis=1), axis=1)  # (batch,)

    # Behind the last proposal the draft model has no share, which leaves all of the model's.
    draft_shares = tf.pad(draft_shares, [[0, 0], [0, 1], [0, 0]])
    share = tf.gather(shares, num_accepted, batch_dims=1)  # (batch, vocab)
    left = tf.maximum(share - tf.gather(draft_shares, num_accepted, batch_dims=1), 0.0)
    # Nothing is left only where both are the same but for rounding.
    nothing = tf.reduce_sum(left, axis=1, keepdims=True) == 0
    next_ids = _draw(tf.where(nothing, share, left), uniform(sampling.seed, counter + count))
    return num_accepted, next_ids


def _shares(logits: tf.Tensor, sampling: SamplingTensors) -> tf.Tensor:
    """Returns the distributions of draws: float32 (batch, time, vocab), as the logits."""
    time, vocab_size = tf.shape(logits)[1], logits.shape[2]
    flat = tf.reshape(logits, [-1, vocab_size])  # (batch × time, vocab)
    repeated = SamplingTensors(*(tf.repeat(numbers, time) for numbers in sampling))
    likeliest = tf.one_hot(tf.argmax(flat, axis=1), vocab_size)
    greedy = tf.expand_dims(repeated.temperature == 0, 1)
    shares = tf.where(greedy, likeliest, probabilities(flat, repeated))
    return tf.reshape(shares, tf.shape(logits))


def _draw(shares: tf.Tensor, chances: tf.Tensor) -> tf.Tensor:
    """Draws by the inverse of the cumulative distribution: (batch, vocab), (batch,) → (batch,)."""
    cumulative = tf.cumsum(shares, axis=1)
    below = cumulative <= tf.expand_dims(chances, 1) * cumulative[:, -1:]
    return tf.reduce_sum(tf.cast(below, tf.int32), axis=1)


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


def speculative_ids(
    model: GPT2Model,
    token_ids: np.ndarray,
    num_tokens: np.ndarray,
    settings: Speculative,
    *,
    max_new_tokens: int,
    end_token_id: int,
    seeds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Continues prompts of ids by speculative sampling, in a function traced once a draft model.

    Args:
        model: The model. It keeps the function for the last draft model.
        token_ids: Int32 array `(batch, time)`, each prompt at the right end of
            its row.
        num_tokens: Int32 array `(batch,)`: each prompt's length, at least 1.
        settings: The draft model and the numbers.
        max_new_tokens: Largest number of tokens to add, at least 1.
        end_token_id: The id that finishes a row.
        seeds: Int32 array `(batch,)`.

    Returns:
        New tokens and counts as `speculative_sample`, as arrays.

    Raises:
        ValueError: If the two models have different vocabularies, if `top_k` is
            above their size, or if prompts and new tokens do not fit the context
            of both.
    """
    draft_model = settings.draft_model
    if draft_model.config.vocab_size != model.config.vocab_size:
        raise ValueError(
            "The draft model must have the tokens of the model. "
            f"Received: draft_model with vocab_size={draft_model.config.vocab_size}, "
            f"model with vocab_size={model.config.vocab_size}. "
            "Use a draft model that was trained with the same tokenizer."
        )
    if settings.top_k > model.config.vocab_size:
        raise ValueError(
            f"`top_k` must be at most vocab_size={model.config.vocab_size}. "
            f"Received: top_k={settings.top_k}. 0 keeps all tokens."
        )
    check_room(model, token_ids, max_new_tokens)
    check_room(draft_model, token_ids, max_new_tokens)

    def make() -> Any:
        def sample(
            token_ids: Any,
            num_tokens: Any,
            sampling: SamplingTensors,
            num_draft_tokens: Any,
            max_new_tokens: Any,
        ) -> Any:
            return speculative_sample(
                model,
                draft_model,
                token_ids,
                num_tokens,
                sampling,
                num_draft_tokens=num_draft_tokens,
                max_new_tokens=max_new_tokens,
                end_token_id=end_token_id,
            )

        signature = [IDS, COUNTS, sampling_specs(), INTEGER, INTEGER]
        return traced(sample, signature)

    ids, counts, _ = kept_trace(model, "speculative_sample", (end_token_id, draft_model), make)(
        token_ids,
        num_tokens,
        sampling_tensors(settings.sampler, seeds),
        np.int32(settings.num_draft_tokens),
        np.int32(max_new_tokens),
    )
    return ids.numpy(), counts.numpy()


def generate_speculative(
    model: GPT2Model,
    prompts: str | Sequence[str],
    settings: Speculative,
    *,
    seeds: np.ndarray,
    max_new_tokens: int | None = None,
    overflow: str = "refuse",
    strip_prompt: bool = False,
) -> list[str]:
    """Continues texts by speculative sampling.

    Args:
        model: A model with a tokenizer.
        prompts: One text, or several.
        settings: The draft model and the numbers.
        seeds: Int32 array, a seed for each prompt.
        max_new_tokens, strip_prompt: As for `generation.generate`.
        overflow: `"refuse"` a prompt that is too long, or `"crop"` its beginning.

    Returns:
        A text for each prompt.

    Raises:
        TypeError: If a prompt is not a `str`.
        ValueError: If the two models have different vocabularies, if `top_k` is
            above their size, or if a prompt and its new tokens do not fit the
            context of both.
    """
    texts, token_ids, num_tokens, count = read_prompts(model, prompts, max_new_tokens, overflow)
    found = speculative_ids(
        model,
        token_ids,
        num_tokens,
        settings,
        max_new_tokens=count,
        end_token_id=model.require_tokenizer().end_token_id,
        seeds=seeds,
    )
    return continued(model, texts, *found, strip_prompt=strip_prompt)
