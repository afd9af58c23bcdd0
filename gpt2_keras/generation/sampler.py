"""Samplers: their numbers as a value, and as tensors of a graph."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpt2_keras.validation import (
    MAX_INT32,
    check_choice,
    check_integer,
    check_number,
    check_probability,
)

DEFAULT_TOP_K = 40  # the samples published with openai/gpt-2, README.md
DEFAULT_MIN_P = 0.05  # "Turning Up the Heat: Min-p Sampling" (Nguyen et al., 2024)
DEFAULT_TYPICAL_P = 0.95  # "Locally Typical Sampling" (Meister et al., 2022), section 5
DEFAULT_TOP_P = 0.9  # "The Curious Case of Neural Text Degeneration" (Holtzman et al., 2019)


@dataclasses.dataclass(frozen=True)
class Sampler:
    """The settings by which the next token is sampled from the logits.

    Penalties come first: tokens that the text has already become less likely. Then the
    logits are divided by the temperature, and each filter in the order below keeps some
    tokens; one of those is sampled by its probability. The numbers mean what they mean in
    transformers' generation config (presence and frequency penalty: in OpenAI's API).

    Args:
        temperature: At least 0; below 1 sharpens, above 1 flattens. 0 takes the
            most likely token.
        top_k: Number of most likely tokens that are kept; 0 keeps all.
        top_p: The fewest most likely tokens are kept whose probabilities add up to at least
            this, in (0, 1]; 1 keeps all. "Nucleus sampling" (Holtzman et al., 2019).
        min_p: Tokens are kept that have at least this fraction of the most likely token's
            probability, in [0, 1]; 0 keeps all.
        typical_p: The tokens are kept whose surprisal is nearest to the entropy and whose
            probabilities add up to at least this, in (0, 1]; 1 keeps all. "Locally Typical
            Sampling" (Meister et al., 2022).
        repetition_penalty: Above 0. Positive logits of tokens of the prompt or the text are
            divided by it, negative ones multiplied; 1 is none. "CTRL" (Keskar et al., 2019).
        presence_penalty: Subtracted from the logits of tokens of the new text.
        frequency_penalty: Subtracted from a token's logit once for each time that it is in
            the new text.
        no_repeat_ngram_size: Number of tokens in the n-grams that must not be repeated, the
            prompt included; 0 allows all.

    Raises:
        TypeError: If a number is of the wrong type.
        ValueError: If a number is out of its range.

    Example:
        >>> Sampler(temperature=0.8, top_k=40)
        Sampler(temperature=0.8, top_k=40)
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        for name, (check, neutral) in _CHECKS.items():
            check(name, getattr(self, name), advice=f"{neutral} has no effect.")

    def __repr__(self) -> str:
        changed = [
            f"{field.name}={getattr(self, field.name)}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Sampler({', '.join(changed)})"


# For each field: its check, and the value without effect.
_CHECKS: dict[str, tuple[Callable[..., Any], float]] = {
    "temperature": (partial(check_number, minimum=0), 1.0),
    "top_k": (partial(check_integer, minimum=0, maximum=MAX_INT32), 0),
    "top_p": (partial(check_number, above=0, maximum=1), 1.0),
    "min_p": (check_probability, 0.0),
    "typical_p": (partial(check_number, above=0, maximum=1), 1.0),
    "repetition_penalty": (partial(check_number, above=0), 1.0),
    "presence_penalty": (check_number, 0.0),
    "frequency_penalty": (check_number, 0.0),
    "no_repeat_ngram_size": (partial(check_integer, minimum=0, maximum=MAX_INT32), 0),
}


# KerasHub's names of its samplers, and of the two that it does not have.
NAMED = {
    "greedy": Sampler(temperature=0.0),
    "random": Sampler(),
    "top_k": Sampler(top_k=DEFAULT_TOP_K),
    "top_p": Sampler(top_p=DEFAULT_TOP_P),
    "min_p": Sampler(min_p=DEFAULT_MIN_P),
    "typical": Sampler(typical_p=DEFAULT_TYPICAL_P),
}


def resolve(sampler: Sampler | str, **numbers: float | None) -> Sampler:
    """Returns the sampler that a caller's arguments mean.

    Args:
        sampler: A `Sampler`, or the name of one.
        **numbers: Fields of `Sampler` that replace the sampler's, if not None.

    Raises:
        TypeError: If the sampler is of another type.
        ValueError: If the name is unknown or a number out of its range.

    Example:
        >>> resolve("top_k", temperature=0.7)
        Sampler(temperature=0.7, top_k=40)
    """
    changes = {name: value for name, value in numbers.items() if value is not None}
    if not isinstance(sampler, Sampler):
        sampler = NAMED[check_choice("sampler", sampler, NAMED, advice="Or give a Sampler.")]
    return dataclasses.replace(sampler, **changes)  # type: ignore[arg-type]


# The fields without effect on the greedy choice, which penalties change as well.
FOR_SAMPLING = {"temperature", "top_k", "top_p", "min_p", "typical_p"}


class SamplingTensors(NamedTuple):
    """The numbers of a `Sampler` for each row, and its seed, each `(batch,)`.

    Tensors and not Python numbers, so that no function is traced again for others.
    """

    temperature: Any  # float32
    top_k: Any  # int32
    top_p: Any  # float32
    min_p: Any  # float32
    typical_p: Any  # float32
    repetition_penalty: Any  # float32
    presence_penalty: Any  # float32
    frequency_penalty: Any  # float32
    no_repeat_ngram_size: Any  # int32
    seed: Any  # int32


INT_FIELDS = {"top_k", "no_repeat_ngram_size", "seed"}


def sampling_tensors(sampler: Sampler, seeds: np.ndarray) -> SamplingTensors:
    """Returns a sampler's numbers for each row.

    Args:
        sampler: The sampler.
        seeds: Int32 array `(batch,)`.
    """
    numbers = {
        name: np.full(len(seeds), getattr(sampler, name), dtype_of(name))
        for name in SamplingTensors._fields
        if name != "seed"
    }
    return SamplingTensors(**numbers, seed=seeds)


def unused_fields(sampling: SamplingTensors) -> tuple[str, ...]:
    """Returns the fields of arrays that change no row: those of sampling, the penalties, or both.

    Example:
        >>> unused_fields(sampling_tensors(Sampler(top_k=40), np.zeros(2, "int32")))
        ('repetition_penalty', 'presence_penalty', 'frequency_penalty', 'no_repeat_ngram_size')
    """
    penalties = [name for name in _CHECKS if name not in FOR_SAMPLING]
    unused = [] if (sampling.temperature > 0).any() else sorted(FOR_SAMPLING)
    if all((getattr(sampling, name) == _CHECKS[name][1]).all() for name in penalties):
        unused += penalties
    return tuple(unused)


def with_constants(sampling: SamplingTensors, unused: Sequence[str]) -> SamplingTensors:
    """Returns numbers of which the unused are constants: a graph has nothing for them."""
    greedy = {"temperature": 0.0}
    constants = {
        name: np.full(1, greedy.get(name, _CHECKS[name][1]), dtype_of(name)) for name in unused
    }
    return sampling._replace(**constants)


def dtype_of(name: str) -> str:
    """Returns the dtype of a field of `SamplingTensors`."""
    return "int32" if name in INT_FIELDS else "float32"
