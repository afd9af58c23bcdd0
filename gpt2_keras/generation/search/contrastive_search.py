"""Contrastive search: likely tokens that do not repeat the text so far."""

import dataclasses
import functools
from typing import Any

import numpy as np

from gpt2_keras.generation.arrays import Array, xp
from gpt2_keras.generation.compiled import call_cached
from gpt2_keras.generation.padding import count_until, is_any, left_padding_mask
from gpt2_keras.generation.search.results import ONE_RESULT, Found, SearchRequest
from gpt2_keras.generation.specs import COUNTS, IDS, INTEGER, NUMBER
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_integer, check_probability

LEAST_COSINE = -1.0


@dataclasses.dataclass(frozen=True)
class ContrastiveSearch:
    """Takes, of the `k` most likely tokens, the best by probability and by difference.

    The best has the largest `(1 - alpha) · p - alpha · s`, with the token's probability p and
    s the largest cosine between its hidden state and one of the tokens before it. Source: "A
    Contrastive Framework for Neural Text Generation" (Su et al., 2022), equation 5.

    Args:
        k: Number of candidates, at least 1. Each costs a row in every step.
        alpha: Weight of the difference, in [0, 1]; 0 is greedy.

    Raises:
        TypeError: If a number is of the wrong type.
        ValueError: If a number is out of its range.

    Example:
        >>> ContrastiveSearch(k=4)
        ContrastiveSearch(k=4, alpha=0.6)
    """

    k: int = 5
    alpha: float = 0.6

    def __post_init__(self) -> None:
        check_integer("k", self.k, minimum=1)
        check_probability("alpha", self.alpha, advice="0.0 is greedy.")

    def run(self, model: GPT2Model, request: SearchRequest) -> Found:
        """Continues prompts of ids; see `PromptSearch`.

        Raises:
            ValueError: If `k` is above the vocabulary's size, prompts and new tokens do not
                fit the context, or several texts are asked for.
        """
        request.check(model, max_return_sequences=1, advice=ONE_RESULT)
        check_integer("k", self.k, maximum=model.config.vocab_size)
        ends = request.end_token_ids
        ids, counts = call_cached(
            model,
            "contrastive_search",
            ends,
            functools.partial(contrastive_search, model, end_token_ids=ends),
            [IDS, COUNTS, INTEGER, NUMBER, INTEGER],
            request.token_ids,
            request.num_tokens,
            np.int32(self.k),
            np.float32(self.alpha),
            np.int32(request.max_new_tokens),
        )
        return Found(ids[:, None], counts[:, None])


def contrastive_search(
    model: GPT2Model,
    token_ids: Any,
    num_tokens: Any,
    k: Any,
    alpha: Any,
    max_new_tokens: Any,
    *,
    end_token_ids: tuple[int, ...],
) -> tuple[Array, Array]:
    """Continues prompts by contrastive search; see `ContrastiveSearch`.

    A step computes all candidates at once: k rows of the cache for each text. The row of the
    chosen one has the cache, the hidden state and the logits of the next step.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, padded on the left.
        num_tokens: Int32 tensor `(batch,)`: each prompt's length, at least 1.
        k: Int32 scalar, from 1 to the vocabulary's size.
        alpha: Float32 scalar, in [0, 1].
        max_new_tokens: Int32 scalar, at least 1.
        end_token_ids: The ids that finish a row.

    Returns:
        New tokens, int32 `(batch, max_new_tokens)`, padded with the end token, and
        the number of each row's tokens before its end token, int32 `(batch,)`.
    """
    batch_size, time = xp.sizes(token_ids)
    length = time + max_new_tokens
    padding_mask = left_padding_mask(num_tokens, time, length)  # (batch, length)
    logits, cache, states = model(
        token_ids,
        padding_mask=padding_mask,
        cache=model.make_cache(batch_size, length),
        num_logits=1,
        return_hidden_states=True,
        training=False,
    )
    per_candidate = functools.partial(xp.repeat, repeats=k, axis=0)  # batch → batch × k
    candidate_mask = per_candidate(padding_mask)
    # The unit vectors of the tokens so far; (batch, length, width)
    context = xp.pad(_unit(states[-1]), [[0, 0], [0, max_new_tokens], [0, 0]])
    columns = xp.arange(length)

    def body(
        step: Array,
        logits: Array,
        cache: Any,
        context: Array,
        new_ids: Array,
        finished: Array,
    ) -> tuple[Any, ...]:
        probabilities, candidates = xp.top_k(xp.softmax(logits), k)  # (batch, k)
        next_logits, cache, states = model(
            xp.reshape(candidates, [-1, 1]),
            padding_mask=candidate_mask,
            cache=cache,
            cache_index=time + step,
            return_hidden_states=True,
            training=False,
        )
        width = context.shape[-1]
        vectors = xp.reshape(_unit(states[-1]), [batch_size, k, width])
        cosines = xp.matmul_transposed(vectors, context)  # (batch, k, length)
        known = xp.expand_dims(padding_mask & (columns < time + step), 1)  # (batch, 1, length)
        similarity = xp.max(xp.where(known, cosines, LEAST_COSINE), axis=2)  # (batch, k)
        score = (1 - alpha) * probabilities - alpha * similarity
        choice = xp.argmax(score, axis=1)  # (batch,)

        ids = xp.gather(candidates, choice, batch_dims=1)
        ids = xp.where(finished, end_token_ids[0], ids)
        new_ids = xp.where(xp.arange(max_new_tokens) == step, xp.expand_dims(ids, 1), new_ids)
        chosen = xp.gather(vectors, choice, batch_dims=1)  # (batch, width)
        here = xp.reshape(columns == time + step, [1, -1, 1])  # (1, length, 1)
        context = xp.where(here, xp.expand_dims(chosen, 1), context)
        rows = xp.arange(batch_size) * k + choice
        logits = xp.gather(next_logits[:, 0], rows)  # (batch, vocab)
        rows = per_candidate(rows)  # (batch × k,)
        cache = xp.map_structure(lambda part: xp.gather(part, rows), cache)
        return step + 1, logits, cache, context, new_ids, finished | is_any(ids, end_token_ids)

    *_, new_ids, _ = xp.while_loop(
        lambda step, *state: (step < max_new_tokens) & ~xp.all(state[-1]),
        body,
        (
            xp.constant(0),
            logits[:, 0],
            xp.map_structure(per_candidate, cache),
            context,
            xp.full([batch_size, max_new_tokens], end_token_ids[0]),
            xp.full([batch_size], False),
        ),
    )
    return new_ids, count_until(is_any(new_ids, end_token_ids))


def _unit(states: Array) -> Array:
    """Scales vectors to length 1, so that their products are cosines."""
    return xp.unit_vectors(xp.cast(states, "float32"))
