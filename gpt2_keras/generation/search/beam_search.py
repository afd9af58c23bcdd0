"""Beam search: the most likely texts that a bounded search finds."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import numpy as np

from gpt2_keras.generation.arrays import Array, xp
from gpt2_keras.generation.compiled import call_cached
from gpt2_keras.generation.padding import count_until, is_any, left_padding_mask
from gpt2_keras.generation.search.results import Found, SearchRequest
from gpt2_keras.generation.specs import COUNTS, IDS, INTEGER, NUMBER
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_integer, check_number

NO_SCORE = -math.inf  # the score where there is no hypothesis


@dataclasses.dataclass(frozen=True)
class BeamSearch:
    """Keeps the `num_beams` most likely beginnings at every step, and returns the best texts.

    The score of a text is the sum of its tokens' log-probabilities, the end token's
    included, divided by `length ** length_penalty`.

    Args:
        num_beams: Number of beginnings kept, at least 1; with 1 the search is greedy. At
            least `num_return_sequences` of `generate`.
        length_penalty: Finite; above 0 favours longer texts, below 0 shorter ones, 0 compares
            the sums.

    Raises:
        TypeError: If a number is of the wrong type.
        ValueError: If a number is out of its range.

    Example:
        >>> BeamSearch(num_beams=4)
        BeamSearch(num_beams=4, length_penalty=1.0)
    """

    num_beams: int = 5
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        check_integer("num_beams", self.num_beams, minimum=1, advice="1 is greedy.")
        check_number("length_penalty", self.length_penalty, advice="0.0 ignores the length.")

    def run(self, model: GPT2Model, request: SearchRequest) -> Found:
        """Continues prompts of ids; see `PromptSearch`.

        Raises:
            ValueError: If prompts and new tokens do not fit the context, or more texts are
                asked for than there are beams.
        """
        request.check(
            model,
            max_return_sequences=self.num_beams,
            advice="Raise num_beams for more texts.",
        )
        ends = request.end_token_ids
        arrays = call_cached(
            model,
            "beam_search",
            ends,
            functools.partial(beam_search, model, end_token_ids=ends),
            [IDS, COUNTS, INTEGER, NUMBER, INTEGER, INTEGER],
            request.token_ids,
            request.num_tokens,
            np.int32(self.num_beams),
            np.float32(self.length_penalty),
            np.int32(request.num_return_sequences),
            np.int32(request.max_new_tokens),
        )
        return Found(*arrays)


class Hypotheses(NamedTuple):
    """Token sequences of each row, best first."""

    ids: Any  # int32 (batch, beams, max_new_tokens), the end token where there is no token yet
    scores: Any  # float32 (batch, beams), `NO_SCORE` where there is none


class BeamState(NamedTuple):
    """The state of a beam search."""

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
    num_return_sequences: Any,
    max_new_tokens: Any,
    *,
    end_token_ids: tuple[int, ...],
) -> tuple[Array, Array, Array]:
    """Searches for the best continuations of prompts.

    Of the `2 · num_beams` most likely continuations of a row's live sequences (with n end
    tokens: `(1 + n) · num_beams`), those of the first `num_beams` that end are finished, and
    the best that do not end stay live. A row is done
    when it has `num_beams` finished sequences and the best live one, divided by its length
    so far, is no better than the worst of them; what is live after `max_new_tokens` counts
    as finished.

    Source: `_beam_search` in huggingface/transformers `generation/utils.py` with
    `early_stopping=False`.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, padded on the left.
        num_tokens: Int32 tensor `(batch,)`: each prompt's length, at least 1.
        num_beams: Int32 scalar, at least 1.
        length_penalty: Float32 scalar.
        num_return_sequences: Int32 scalar, from 1 to `num_beams`.
        max_new_tokens: Int32 scalar, at least 1.
        end_token_ids: The ids that finish a sequence.

    Returns:
        New tokens, int32 `(batch, num_return_sequences, max_new_tokens)`, best first and
        padded with the end token; the number of each before its end token, int32 `(batch,
        num_return_sequences)`; and their scores, float32 of the same shape, minus infinity
        where there are fewer sequences than asked for.
    """
    batch_size, time = xp.sizes(token_ids)
    length = time + max_new_tokens
    padding_mask = left_padding_mask(num_tokens, time, length)  # (batch, length)
    logits, cache = model(
        token_ids,
        padding_mask=padding_mask,
        cache=model.make_cache(batch_size, length),
        num_logits=1,
        training=False,
    )
    per_beam = functools.partial(xp.repeat, repeats=num_beams, axis=0)  # batch → batch × beams
    beam_mask, logits = per_beam(padding_mask), per_beam(logits)
    cache = xp.map_structure(per_beam, cache)
    no_hypotheses = Hypotheses(
        xp.full([batch_size, num_beams, max_new_tokens], end_token_ids[0]),
        xp.full([batch_size, num_beams], NO_SCORE),
    )
    # All beams begin the same, so at first only one of them counts.
    only_first = xp.where(xp.arange(num_beams) == 0, 0.0, NO_SCORE)  # (beams,)
    live = no_hypotheses._replace(scores=xp.zeros([batch_size, 1]) + only_first)
    state = BeamState(xp.constant(0), live, no_hypotheses, xp.full([batch_size], True))

    def extend(state: BeamState, logits: Array) -> tuple[BeamState, Array]:
        return _extend(state, logits, length_penalty, end_token_ids)

    def body(cache: Any, state: BeamState) -> tuple[Any, BeamState]:
        last_ids = state.live.ids[:, :, state.step - 1]  # (batch, beams)
        logits, cache = model(
            xp.reshape(last_ids, [-1, 1]),
            padding_mask=beam_mask,
            cache=cache,
            cache_index=time + state.step - 1,
            training=False,
        )
        state, parents = extend(state, logits)
        rows = xp.expand_dims(xp.arange(batch_size) * num_beams, 1) + parents  # (batch, beams)
        rows = xp.reshape(rows, [-1])
        return xp.map_structure(lambda part: xp.gather(part, rows), cache), state

    state, _ = extend(state, logits)
    _, state = xp.while_loop(
        lambda _, state: (state.step < max_new_tokens) & xp.any(state.searching),
        body,
        (cache, state),
    )
    ids, scores = (part[:, :num_return_sequences] for part in state.finished)
    return ids, count_until(is_any(ids, end_token_ids)), scores


def _extend(
    state: BeamState, logits: Array, length_penalty: Any, end_token_ids: tuple[int, ...]
) -> tuple[BeamState, Array]:
    """Adds a token to each live sequence.

    Args:
        state: The search so far.
        logits: Float32 tensor `(batch × beams, 1, vocab)`.
        length_penalty: Float32 scalar.
        end_token_ids: The ids that finish a sequence.

    Returns:
        The new state, and the indices of the sequences that the new live ones continue, int32
        `(batch, beams)`.
    """
    _, live, finished, searching = state
    batch_size, num_beams, max_new_tokens = xp.sizes(live.ids)
    vocab_size = logits.shape[-1]
    length = state.step + 1
    log_probs = xp.log_softmax(logits)
    log_probs = xp.reshape(log_probs, [batch_size, num_beams, vocab_size])
    sums = xp.reshape(xp.expand_dims(live.scores, 2) + log_probs, [batch_size, -1])
    # Each sequence has as many continuations that end as there are end tokens: so many more than
    # beams that enough are left which do not end.
    count = (1 + len(end_token_ids)) * num_beams
    sums, indices = xp.top_k(sums, count)  # (batch, count)
    parents, tokens = indices // vocab_size, indices % vocab_size
    ends = is_any(tokens, end_token_ids)
    ids = xp.gather(live.ids, parents, batch_dims=1)  # (batch, count, max_new_tokens)
    ids = xp.where(xp.arange(max_new_tokens) == state.step, xp.expand_dims(tokens, 2), ids)

    complete = ends | (length == max_new_tokens)
    complete &= xp.arange(count) < num_beams
    complete &= xp.expand_dims(searching, 1)
    per_length = xp.cast(length, "float32") ** length_penalty
    scores = xp.where(complete, sums / per_length, NO_SCORE)
    finished = _best(
        Hypotheses(
            xp.concat([finished.ids, ids], axis=1), xp.concat([finished.scores, scores], axis=1)
        ),
        num_beams,
    )[0]
    live, order = _best(Hypotheses(ids, xp.where(ends, NO_SCORE, sums)), num_beams)
    searching &= live.scores[:, 0] / per_length > finished.scores[:, -1]
    parents = xp.gather(parents, order, batch_dims=1)  # (batch, beams)
    return BeamState(length, live, finished, searching), parents


def _best(hypotheses: Hypotheses, count: Any) -> tuple[Hypotheses, Array]:
    """Returns each row's `count` best hypotheses, and their indices."""
    scores, order = xp.top_k(hypotheses.scores, count)
    return Hypotheses(xp.gather(hypotheses.ids, order, batch_dims=1), scores), order
