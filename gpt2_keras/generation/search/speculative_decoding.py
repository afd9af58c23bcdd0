"""Speculative decoding: a small model proposes tokens, the large one checks them at once."""

import dataclasses
import functools

import numpy as np

from gpt2_keras.generation.compiled import call_cached
from gpt2_keras.generation.prompts import check_fits
from gpt2_keras.generation.sampler import Sampler, sampling_tensors
from gpt2_keras.generation.search.results import ONE_RESULT, Found, SearchRequest
from gpt2_keras.generation.search.speculative_graph import speculative_sample
from gpt2_keras.generation.specs import COUNTS, IDS, INTEGER, sampling_specs
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_instance, check_integer


@dataclasses.dataclass(frozen=True)
class SpeculativeDecoding:
    """Samples as a `Sampler` with the same numbers would, in fewer steps of the model.

    Args:
        draft_model: A faster model with the same tokens. The closer its probabilities, the
            more of its proposals are accepted.
        num_draft_tokens: Number of tokens that it proposes before each step of the model, at
            least 1.
        temperature, top_k, top_p: As for `Sampler`.

    Raises:
        TypeError: If `draft_model` is no `GPT2Model`, or a number of the wrong type.
        ValueError: If a number is out of its range.
    """

    draft_model: GPT2Model
    num_draft_tokens: int = 4
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        check_instance("draft_model", self.draft_model, GPT2Model, "a GPT2LM")
        check_integer("num_draft_tokens", self.num_draft_tokens, minimum=1)
        _ = self.sampler  # which checks the others

    @property
    def sampler(self) -> Sampler:
        """The sampler whose distribution the tokens have."""
        return Sampler(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)

    def run(self, model: GPT2Model, request: SearchRequest) -> Found:
        """Continues prompts of ids; see `PromptSearch`.

        Raises:
            ValueError: If the two models have different vocabularies, `top_k` is above their
                size, prompts and new tokens do not fit the context of both, or several texts
                are asked for.
        """
        draft_model, vocab_size = self.draft_model, model.config.vocab_size
        if draft_model.config.vocab_size != vocab_size:
            raise ValueError(
                f"draft_model has vocab_size={draft_model.config.vocab_size}, and the model "
                f"vocab_size={vocab_size}. "
                "Use a draft model that was trained with the same tokenizer."
            )
        check_integer("top_k", self.top_k, maximum=vocab_size, advice="0 keeps all tokens.")
        request.check(model, max_return_sequences=1, advice=ONE_RESULT)
        check_fits(draft_model, request.token_ids, request.max_new_tokens)
        ends = request.end_token_ids
        ids, counts, _ = call_cached(
            model,
            "speculative_sample",
            (ends, draft_model),
            functools.partial(speculative_sample, model, draft_model, end_token_ids=ends),
            [IDS, COUNTS, sampling_specs(), INTEGER, INTEGER],
            request.token_ids,
            request.num_tokens,
            sampling_tensors(self.sampler, request.seeds),
            np.int32(self.num_draft_tokens),
            np.int32(request.max_new_tokens),
        )
        return Found(ids[:, None], counts[:, None])
