"""What is generated with where a call does not say: the model's generation config."""

from typing import Any

import numpy as np

from gpt2_keras.generation.arrays import xp
from gpt2_keras.generation.logits_processors import LogitsProcessors, ProcessorTensors
from gpt2_keras.generation.sampler import FOR_SAMPLING, Sampler, SamplingTensors, sampling_tensors
from gpt2_keras.model import GPT2Model


def default_sampler(model: GPT2Model, **numbers: float | None) -> Sampler:
    """Returns the sampler of a call that names none.

    Args:
        model: The model.
        **numbers: Fields of `Sampler` that the call gives, if not None.

    Returns:
        The model's, with these fields replaced: greedy if neither its generation config nor
        the numbers are for sampling.

    Example:
        >>> config = GPT2Config(vocab_size=9, context_length=4, num_layers=1, num_heads=1,
        ...                     hidden_dim=4)
        >>> default_sampler(GPT2LM(config)), default_sampler(GPT2LM(config), top_k=3)
        (Sampler(temperature=0.0), Sampler(top_k=3))
    """
    given = {name: value for name, value in numbers.items() if value is not None}
    config = model.generation_config
    greedy = {} if config.samples or FOR_SAMPLING & set(given) else {"temperature": 0.0}
    fields: dict[str, Any] = {**greedy, **config.penalties, **config.sampling, **given}
    if "top_k" in fields and "top_k" not in given:
        fields["top_k"] = min(fields["top_k"], model.config.vocab_size)
    return Sampler(**fields)


def default_processors(model: GPT2Model) -> LogitsProcessors:
    """Returns the logits processors of a call that names none."""
    contents = model.generation_config.contents
    banned = contents.get("suppress_tokens") or []
    return LogitsProcessors(
        min_new_tokens=contents.get("min_new_tokens") or 0,
        logit_bias=dict.fromkeys(banned, -float("inf")),
        bad_words_ids=contents.get("bad_words_ids") or (),
    )


def export_numbers(model: GPT2Model) -> SamplingTensors:
    """Returns the numbers of an exported graph whose request names none, one for all rows.

    As arrays: what is known to have no effect adds nothing to a graph.
    """
    return sampling_tensors(default_sampler(model), np.zeros(1, "int32"))


def export_processors(model: GPT2Model) -> ProcessorTensors:
    """Returns the logits processors of an exported graph, as constants."""
    return ProcessorTensors(*map(xp.constant, default_processors(model).to_tensors(model)))
