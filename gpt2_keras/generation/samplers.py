"""Ways to choose the next token, as values."""

import dataclasses
import math
from collections.abc import Callable

DEFAULT_TOP_K = 40  # the samples published with openai/gpt-2, README.md
DEFAULT_MIN_P = 0.05  # "Turning Up the Heat: Min-p Sampling" (Nguyen et al., 2024)
DEFAULT_TYPICAL_P = 0.95  # "Locally Typical Sampling" (Meister et al., 2022), section 5
DEFAULT_TOP_P = 0.9  # "The Curious Case of Neural Text Degeneration" (Holtzman et al., 2019)


@dataclasses.dataclass(frozen=True)
class Sampler:
    """How the next token is drawn from the logits.

    Penalties first: tokens that the text has already become less likely. Then the
    logits are divided by the temperature; of the tokens, only those that each
    filter in the order below keeps stay in; one is drawn from them, by its
    probability. The numbers mean what they mean in transformers' generation
    config (presence and frequency penalty: in OpenAI's API).

    Args:
        temperature: At least 0; below 1 sharpens, above 1 flattens. 0 takes the
            likeliest token.
        top_k: Number of likeliest tokens that stay; 0 keeps all.
        top_p: The likeliest tokens stay that together have at least this share,
            in (0, 1]; 1 keeps all. "Nucleus sampling" (Holtzman et al., 2019).
        min_p: Tokens stay that have at least this share of the likeliest one's
            probability, in [0, 1]; 0 keeps all.
        typical_p: The tokens stay whose surprise is nearest to the expected one
            and that together have at least this share, in (0, 1]; 1 keeps all.
            "Locally Typical Sampling" (Meister et al., 2022).
        repetition_penalty: Above 0. Positive logits of tokens that prompt or text
            have are divided by it, negative ones multiplied; 1 is none. "CTRL"
            (Keskar et al., 2019).
        presence_penalty: Subtracted from the logits of tokens that the new text
            has.
        frequency_penalty: Subtracted from a token's logit once for each time the
            new text has it.
        no_repeat_ngram_size: No sequence of so many tokens comes twice, the
            prompt counted; 0 allows all.

    Raises:
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
        for name, (holds, rule, neutral) in _RULES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and holds(value)):
                raise ValueError(
                    f"`{name}` must be {rule}. Received: {name}={value}. {neutral} has no effect."
                )

    def __repr__(self) -> str:
        changed = [
            f"{field.name}={getattr(self, field.name)}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Sampler({', '.join(changed)})"


# For each field: whether a value is in range, the range in words, and the value without effect.
_RULES: dict[str, tuple[Callable[[float], bool], str, float]] = {
    "temperature": (lambda t: t >= 0, "a finite number of at least 0", 1.0),
    "top_k": (lambda k: k >= 0 and k == int(k), "an integer of at least 0", 0),
    "top_p": (lambda p: 0 < p <= 1, "above 0 and at most 1", 1.0),
    "min_p": (lambda p: 0 <= p <= 1, "at least 0 and at most 1", 0.0),
    "typical_p": (lambda p: 0 < p <= 1, "above 0 and at most 1", 1.0),
    "repetition_penalty": (lambda r: r > 0, "a finite number above 0", 1.0),
    "presence_penalty": (lambda _: True, "a finite number", 0.0),
    "frequency_penalty": (lambda _: True, "a finite number", 0.0),
    "no_repeat_ngram_size": (lambda n: n >= 0 and n == int(n), "an integer of at least 0", 0),
}


# The strings that KerasHub takes for its samplers, and those of the two it has not.
NAMED = {
    "greedy": Sampler(temperature=0.0),
    "random": Sampler(),
    "top_k": Sampler(top_k=DEFAULT_TOP_K),
    "top_p": Sampler(top_p=DEFAULT_TOP_P),
    "min_p": Sampler(min_p=DEFAULT_MIN_P),
    "typical": Sampler(typical_p=DEFAULT_TYPICAL_P),
}


def resolve(sampler: Sampler | str | None, **numbers: float | None) -> Sampler:
    """Returns the sampler that a caller's arguments mean.

    Args:
        sampler: A `Sampler`, the name of one, or None: greedy if no number that
            asks for a draw is given, else a draw by these numbers.
        **numbers: Fields of `Sampler` that replace the sampler's, if not None.

    Raises:
        TypeError: If a number is no field of `Sampler`.
        ValueError: If the name is unknown or a number out of its range.

    Example:
        >>> resolve("top_k", temperature=0.7)
        Sampler(temperature=0.7, top_k=40)
        >>> resolve(None)
        Sampler(temperature=0.0)
    """
    changes = {name: value for name, value in numbers.items() if value is not None}
    if sampler is None:
        sampler = NAMED["random" if _DRAWS & set(changes) else "greedy"]
    if isinstance(sampler, str):
        if sampler not in NAMED:
            raise ValueError(
                f"`sampler` must be one of {', '.join(NAMED)}, or a Sampler. "
                f"Received: sampler={sampler!r}."
            )
        sampler = NAMED[sampler]
    return dataclasses.replace(sampler, **changes)  # type: ignore[arg-type]


# The fields that only a draw gives a meaning; penalties change the greedy choice as well.
_DRAWS = {"temperature", "top_k", "top_p", "min_p", "typical_p"}
