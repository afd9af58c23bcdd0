"""What beam search, contrastive search and speculative decoding share: prompts in, texts out."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpt2_keras.generation.compiled import compiled
from gpt2_keras.generation.padding import pad
from gpt2_keras.generation.prompts import (
    ON_OVERFLOW,
    default_max_new_tokens,
    encode_prompts,
    left_padded,
)
from gpt2_keras.generation.session import Generation, make_seeds
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_choice, check_integer


class Found(NamedTuple):
    """The results of a search."""

    token_ids: np.ndarray  # int32 (batch, results, steps), best first
    num_tokens: np.ndarray  # int32 (batch, results): the tokens before the end token
    scores: np.ndarray | None = None  # float32 (batch, results); -inf where there is no result


class PromptSearch(Protocol):
    """A search over the continuations of prompts."""

    def run(
        self,
        model: GPT2Model,
        token_ids: np.ndarray,
        num_tokens: np.ndarray,
        *,
        max_new_tokens: int,
        end_token_id: int,
        num_return_sequences: int,
        seeds: np.ndarray,
    ) -> Found:
        """Continues prompts of ids.

        Args:
            model: The model.
            token_ids: Int32 array `(batch, time)`, padded on the left.
            num_tokens: Int32 array `(batch,)`: the length of each prompt, at least 1.
            max_new_tokens: Largest number of new tokens, at least 1.
            end_token_id: The id that ends a text.
            num_return_sequences: Number of results of each prompt.
            seeds: Int32 array `(batch,)`.
        """


def search_texts(
    model: GPT2Model,
    prompts: Sequence[str],
    search: PromptSearch,
    *,
    max_new_tokens: int | None = None,
    seed: int | Sequence[int] | None = None,
    num_return_sequences: int = 1,
    on_overflow: str = "error",
    with_log_probs: bool = False,
) -> list[list[Generation]]:
    """Continues texts by a search; see `generate` for the arguments.

    Returns:
        For each prompt its generations, the best first; fewer than asked for only where
        there are no more. Without `with_log_probs` they have no log-probabilities.
    """
    if max_new_tokens is None:
        max_new_tokens = default_max_new_tokens(model)
    check_integer("max_new_tokens", max_new_tokens, minimum=1)
    check_choice("on_overflow", on_overflow, ON_OVERFLOW)
    prompt_ids = encode_prompts(
        model, prompts, max_new_tokens=max_new_tokens, on_overflow=on_overflow
    )
    found = search.run(
        model,
        *left_padded(model, prompt_ids),
        max_new_tokens=max_new_tokens,
        end_token_id=model.require_tokenizer().end_token_id,
        num_return_sequences=num_return_sequences,
        seeds=make_seeds(seed, len(prompts)),
    )
    new_ids = _rows(found)
    log_probs = _log_probs(model, prompt_ids, new_ids) if with_log_probs else None
    decode = model.require_tokenizer().decode
    return [
        [
            Generation(
                prompt,
                decode(ids),
                ids,
                log_probs[row][index] if log_probs else [],
                "length" if len(ids) == max_new_tokens else "end",
                None if found.scores is None else float(found.scores[row, index]),
            )
            for index, ids in enumerate(new_ids[row])
        ]
        for row, prompt in enumerate(prompts)
    ]


def _rows(found: Found) -> list[list[list[int]]]:
    """Returns the new ids of each result of each prompt."""
    there = np.ones(found.num_tokens.shape, bool)
    if found.scores is not None:
        there = found.scores > -np.inf
    return [
        [ids[:count].tolist() for ids, count, real in zip(*row, strict=True) if real]
        for row in zip(found.token_ids, found.num_tokens, there, strict=True)
    ]


def _log_probs(
    model: GPT2Model, prompt_ids: list[list[int]], new_ids: list[list[list[int]]]
) -> list[list[list[float]]]:
    """Computes the log-probability of each new token, in one pass over all results."""
    rows = [
        prompt + ids for prompt, group in zip(prompt_ids, new_ids, strict=True) for ids in group
    ]
    values: Any = compiled(model).continuation_log_probs(*pad(rows, 0, side="left")).numpy()
    flat = iter(values)
    return [
        [next(flat)[-len(ids) :].tolist() if ids else _skip(flat) for ids in group]
        for group in new_ids
    ]


def _skip(rows: Any) -> list[float]:
    next(rows)
    return []
