"""Beam search: the likeliest texts that a bounded search finds."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from gpt2_keras.generation.compiled import COUNTS, IDS, INTEGER, NUMBER, kept_trace, traced
from gpt2_keras.generation.prompts import check_room, count_before, read_prompts, real_columns
from gpt2_keras.model import GPT2Model

NOTHING = -math.inf  # the score of a place where no hypothesis is


@dataclasses.dataclass(frozen=True)
class BeamSearch:
    """Keeps the `num_beams` likeliest beginnings at every step, and gives the best texts.

    The score of a text is the sum of its tokens' log-probabilities, the end
    token's included, divided by `length ** length_penalty`.

    Args:
        num_beams: Number of beginnings kept, at least 1; with 1 the search is
            greedy.
        length_penalty: Finite; above 0 favours longer texts, below 0 shorter
            ones, 0 compares the sums.
        num_results: Number of texts to return of each prompt, from 1 to
            `num_beams`.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> BeamSearch(num_beams=4, num_results=2)
        BeamSearch(num_beams=4, length_penalty=1.0, num_results=2)
    """

    num_beams: int = 5
    length_penalty: float = 1.0
    num_results: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.num_beams, int) or self.num_beams < 1:
            raise ValueError(
                "`num_beams` must be an integer of at least 1. "
                f"Received: num_beams={self.num_beams!r}. 1 is greedy."
            )
        if not math.isfinite(self.length_penalty):
            raise ValueError(
                "`length_penalty` must be a finite number. "
                f"Received: length_penalty={self.length_penalty}. 0.0 ignores the length."
            )
        if not isinstance(self.num_results, int) or not 1 <= self.num_results <= self.num_beams:
            raise ValueError(
                "`num_results` must be an integer from 1 to `num_beams`. "
                f"Received: num_results={self.num_results!r}, num_beams={self.num_beams}. "
                "Raise num_beams to get more texts."
            )


@dataclasses.dataclass(frozen=True)
class Beam:
    """A text that beam search found.

    Args:
        text: The text.
        score: Its score; see `BeamSearch`.
    """

    text: str
    score: float


class Hypotheses(NamedTuple):
    """Token sequences of each row, best first."""

    ids: Any  # int32 (batch, beams, max_new_tokens), the end token where nothing is yet
    scores: Any  # float32 (batch, beams), `NOTHING` where there is none


class BeamState(NamedTuple):
    """What a running search is made of."""

    step: Any  # int32 (): number of tokens in each live sequence
    live: Hypotheses  # unfinished; scores are sums of log-probabilities
    finished: Hypotheses  # scores are divided by the lengths
    searching: Any  # bool (batch,): whether a live sequence may still beat a finished one


def beam_search(
    model: GPT2Model,
    token_ids: Any,
    num_tokens: Any,
    num_beams: Any,
    length_penalty: Any,
    num_results: Any,
    *,
    max_new_tokens: Any,
    end_token_id: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Searches for the best continuations of prompts.

    Of the `2 · num_beams` likeliest continuations of a row's live sequences, those
    of the first half that end are finished, and the best that do not end live on.
    A row is done when it has `num_beams` finished sequences and the best live one,
    divided by its length so far, is no better than the worst of them; what lives
    after `max_new_tokens` counts as finished.

    Source: `_beam_search` in huggingface/transformers `generation/utils.py` with
    `early_stopping=False`.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, each prompt at the right end of
            its row.
        num_tokens: Int32 tensor `(batch,)`: each prompt's length, at least 1.
        num_beams: Int32 scalar, at least 1.
        length_penalty: Float32 scalar.
        num_results: Int32 scalar, from 1 to `num_beams`.
        max_new_tokens: Int32 scalar, at least 1.
        end_token_id: The id that finishes a sequence.

    Returns:
        New tokens, int32 `(batch, num_results, max_new_tokens)`, best first and
        filled up with the end token; how many of each come before its end token,
        int32 `(batch, num_results)`; and their scores, float32 of the same shape,
        minus infinity where there are fewer sequences than asked for.
    """
    batch_size, time = tf.unstack(tf.shape(token_ids))
    length = time + max_new_tokens
    padding_mask = real_columns(token_ids, num_tokens, length)  # (batch, length)
    logits, cache = model(
        token_ids,
        padding_mask=padding_mask,
        cache=model.make_cache(batch_size, length),
        num_logits=1,
        training=False,
    )
    per_beam = functools.partial(tf.repeat, repeats=num_beams, axis=0)  # batch → batch × beams
    beam_mask, logits = per_beam(padding_mask), per_beam(logits)
    cache = tf.nest.map_structure(per_beam, cache)
    nothing = Hypotheses(
        tf.fill([batch_size, num_beams, max_new_tokens], end_token_id),
        tf.fill([batch_size, num_beams], NOTHING),
    )
    # All beams begin alike, so at first only one of them counts.
    only_first = tf.where(tf.range(num_beams) == 0, 0.0, NOTHING)  # (beams,)
    live = nothing._replace(scores=tf.zeros([batch_size, 1]) + only_first)
    state = BeamState(tf.constant(0), live, nothing, tf.fill([batch_size], True))

    def extend(state: BeamState, logits: tf.Tensor) -> tuple[BeamState, tf.Tensor]:
        return _extend(state, logits, length_penalty, end_token_id)

    def body(cache: Any, state: BeamState) -> tuple[Any, BeamState]:
        last_ids = state.live.ids[:, :, state.step - 1]  # (batch, beams)
        logits, cache = model(
            tf.reshape(last_ids, [-1, 1]),
            padding_mask=beam_mask,
            cache=cache,
            cache_index=time + state.step - 1,
            training=False,
        )
        state, parents = extend(state, logits)
        rows = tf.expand_dims(tf.range(batch_size) * num_beams, 1) + parents  # (batch, beams)
        rows = tf.reshape(rows, [-1])
        return tf.nest.map_structure(lambda kept: tf.gather(kept, rows), cache), state

    state, _ = extend(state, logits)
    _, state = tf.while_loop(
        lambda _, state: (state.step < max_new_tokens) & tf.reduce_any(state.searching),
        body,
        (cache, state),
    )
    ids, scores = (part[:, :num_results] for part in state.finished)
    return ids, count_before(ids, end_token_id), scores


def _extend(
    state: BeamState, logits: tf.Tensor, length_penalty: Any, end_token_id: int
) -> tuple[BeamState, tf.Tensor]:
    """Adds a token to each live sequence.

    Args:
        state: The search so far.
        logits: Float32 tensor `(batch × beams, 1, vocab)`.
        length_penalty: Float32 scalar.
        end_token_id: The id that finishes a sequence.

    Returns:
        The new state, and the places of the sequences that the new live ones
        continue, int32 `(batch, beams)`.
    """
    _, live, finished, searching = state
    batch_size, num_beams, max_new_tokens = tf.unstack(tf.shape(live.ids))
    vocab_size = logits.shape[-1]
    length = state.step + 1
    log_probs = tf.nn.log_softmax(logits)
    log_probs = tf.reshape(log_probs, [batch_size, num_beams, vocab_size])
    sums = tf.reshape(tf.expand_dims(live.scores, 2) + log_probs, [batch_size, -1])
    # Twice as many as beams: each sequence has one end, so half of them do not end.
    sums, places = tf.math.top_k(sums, 2 * num_beams)  # (batch, 2 × beams)
    parents, tokens = places // vocab_size, places % vocab_size
    ends = tokens == end_token_id
    ids = tf.gather(live.ids, parents, batch_dims=1)  # (batch, 2 × beams, max_new_tokens)
    ids = tf.where(tf.range(max_new_tokens) == state.step, tf.expand_dims(tokens, 2), ids)

    complete = ends | (length == max_new_tokens)
    complete &= tf.range(2 * num_beams) < num_beams
    complete &= tf.expand_dims(searching, 1)
    per_length = tf.cast(length, tf.float32) ** length_penalty
    scores = tf.where(complete, sums / per_length, NOTHING)
    finished = _best(
        Hypotheses(
            tf.concat([finished.ids, ids], axis=1), tf.concat([finished.scores, scores], axis=1)
        ),
        num_beams,
    )[0]
    live, order = _best(Hypotheses(ids, tf.where(ends, NOTHING, sums)), num_beams)
    searching &= live.scores[:, 0] / per_length > finished.scores[:, -1]
    parents = tf.gather(parents, order, batch_dims=1)  # (batch, beams)
    return BeamState(length, live, finished, searching), parents


def _best(hypotheses: Hypotheses, count: Any) -> tuple[Hypotheses, tf.Tensor]:
    """Returns each row's `count` best hypotheses, and where they stood."""
    scores, order = tf.math.top_k(hypotheses.scores, count)
    return Hypotheses(tf.gather(hypotheses.ids, order, batch_dims=1), scores), order


def beam_ids(
    model: GPT2Model,
    token_ids: np.ndarray,
    num_tokens: np.ndarray,
    settings: BeamSearch,
    *,
    max_new_tokens: int,
    end_token_id: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Continues prompts of ids by beam search, in a function traced once a model.

    Args:
        model: The model.
        token_ids: Int32 array `(batch, time)`, each prompt at the right end of
            its row.
        num_tokens: Int32 array `(batch,)`: each prompt's length, at least 1.
        settings: The search.
        max_new_tokens: Largest number of tokens to add, at least 1.
        end_token_id: The id that finishes a sequence.

    Returns:
        As `beam_search`, as arrays.

    Raises:
        ValueError: If prompts and new tokens do not fit the context.
    """
    check_room(model, token_ids, max_new_tokens)

    def make() -> Any:
        def search(*arguments: Any) -> Any:
            *others, max_new_tokens = arguments
            return beam_search(
                model, *others, max_new_tokens=max_new_tokens, end_token_id=end_token_id
            )

        signature = [IDS, COUNTS, INTEGER, NUMBER, INTEGER, INTEGER]
        return traced(search, signature)

    ids, counts, scores = kept_trace(model, "beam_search", (end_token_id,), make)(
        token_ids,
        num_tokens,
        np.int32(settings.num_beams),
        np.float32(settings.length_penalty),
        np.int32(settings.num_results),
        np.int32(max_new_tokens),
    )
    return ids.numpy(), counts.numpy(), scores.numpy()


def generate_beams(
    model: GPT2Model,
    prompts: str | Sequence[str],
    settings: BeamSearch,
    *,
    max_new_tokens: int | None = None,
    overflow: str = "refuse",
    strip_prompt: bool = False,
) -> list[list[Beam]]:
    """Continues texts by beam search.

    Args:
        model: A model with a tokenizer.
        prompts: One text, or several.
        settings: The search.
        max_new_tokens, strip_prompt: As for `generation.generate`.
        overflow: `"refuse"` a prompt that is too long, or `"crop"` its beginning.

    Returns:
        For each prompt up to `num_results` texts with scores, the best first;
        fewer only where there are no more.

    Raises:
        TypeError: If a prompt is not a `str`.
        ValueError: If a prompt and its new tokens do not fit the context.
    """
    texts, token_ids, num_tokens, count = read_prompts(model, prompts, max_new_tokens, overflow)
    tokenizer = model.require_tokenizer()
    found = beam_ids(
        model,
        token_ids,
        num_tokens,
        settings,
        max_new_tokens=count,
        end_token_id=tokenizer.end_token_id,
    )
    return [
        [
            Beam(("" if strip_prompt else text) + tokenizer.decode(ids[:end].tolist()), score)
            for ids, end, score in zip(*row, strict=True)
            if score > NOTHING
        ]
        for text, *row in zip(texts, found[0], found[1], found[2].tolist(), strict=True)
    ]
