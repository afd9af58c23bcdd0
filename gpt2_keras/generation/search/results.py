"""What beam search, contrastive search and speculative decoding share: requests and results."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from gpt2_keras.generation.compiled import compiled
from gpt2_keras.generation.padding import pad
from gpt2_keras.generation.prompts import (
    ON_OVERFLOW,
    Prompt,
    check_fits,
    default_max_new_tokens,
    encode_prompts,
    prompt_text,
)
from gpt2_keras.generation.session import Generation, make_seeds
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.special_tokens import SpecialTokens
from gpt2_keras.validation import check_choice, check_integer

ONE_RESULT = "BeamSearch and Sampler return several."


class SearchRequest(NamedTuple):
    """The prompts that a search continues."""

    token_ids: np.ndarray  # int32 (batch, time), padded on the left
    num_tokens: np.ndarray  # int32 (batch,): the length of each prompt, at least 1
    max_new_tokens: int  # largest number of new tokens, at least 1
    end_token_ids: tuple[int, ...]  # the ids that end a text
    seeds: np.ndarray  # int32 (batch,)
    num_return_sequences: int = 1  # number of results of each prompt

    def check(self, model: GPT2Model, *, max_return_sequences: int, advice: str) -> None:
        """Raises an error unless prompts and new tokens fit, and enough results are found."""
        check_fits(model, self.token_ids, self.max_new_tokens)
        check_integer(
            "num_return_sequences",
            self.num_return_sequences,
            minimum=1,
            maximum=max_return_sequences,
            advice=advice,
        )


class Found(NamedTuple):
    """The results of a search."""

    token_ids: np.ndarray  # int32 (batch, results, steps), best first
    num_tokens: np.ndarray  # int32 (batch, results): the tokens before an end token
    scores: np.ndarray | None = None  # float32 (batch, results); -inf where there is no result


class PromptSearch(Protocol):
    """A search over the continuations of prompts."""

    def run(self, model: GPT2Model, request: SearchRequest) -> Found:
        """Continues prompts of ids."""


def search_texts(
    model: GPT2Model,
    prompts: Sequence[Prompt],
    search: PromptSearch,
    *,
    max_new_tokens: int | None = None,
    seed: int | Sequence[int] | None = None,
    num_return_sequences: int = 1,
    on_overflow: str = "error",
    special_tokens: SpecialTokens | None = None,
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
        model,
        prompts,
        max_new_tokens=max_new_tokens,
        on_overflow=on_overflow,
        special_tokens=special_tokens,
    )
    tokenizer, seeds = model.require_tokenizer(), make_seeds(seed, len(prompts))
    padded = pad(prompt_ids, tokenizer.end_token_id, side="left")
    request = SearchRequest(
        *padded, max_new_tokens, model.end_token_ids, seeds, num_return_sequences
    )
    found = search.run(model, request)
    new_ids = _rows(found)
    log_probs = _log_probs(model, prompt_ids, new_ids) if with_log_probs else None
    return [
        [
            Generation(
                prompt_text(prompt),
                tokenizer.decode(ids),
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
    scores = np.zeros(found.num_tokens.shape) if found.scores is None else found.scores
    return [
        [ids[:n].tolist() for ids, n, score in zip(*row, strict=True) if score > -np.inf]
        for row in zip(found.token_ids, found.num_tokens, scores, strict=True)
    ]


def _log_probs(
    model: GPT2Model, prompt_ids: list[list[int]], new_ids: list[list[list[int]]]
) -> list[list[list[float]]]:
    """Computes the log-probability of each new token, in one pass over all results."""
    rows = [
        prompt + ids for prompt, group in zip(prompt_ids, new_ids, strict=True) for ids in group
    ]
    values = iter(np.asarray(compiled(model).continuation_log_probs(*pad(rows, 0, side="left"))))
    return [
        [row[len(row) - len(ids) :].tolist() for ids, row in zip(group, values, strict=False)]
        for group in new_ids
    ]
