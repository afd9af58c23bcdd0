"""Ways to choose the next token, as values."""

import dataclasses
import math

DEFAULT_TOP_K = 40  # the samples published with openai/gpt-2, README.md
DEFAULT_TOP_P = 0.9  # "The Curious Case of Neural Text Degeneration" (Holtzman et al., 2019)


@dataclasses.dataclass(frozen=True)
class Sampler:
    """How the next token is drawn from the logits.

    The logits are divided by the temperature; of the tokens, only the `top_k`
    likeliest stay, and of these the fewest that together have a share of at
    least `top_p`; one is drawn from what stays, by its probability.

    Args:
        temperature: At least 0; below 1 sharpens, above 1 flattens. 0 takes the
            likeliest token.
        top_k: Number of tokens that stay; 0 keeps all.
        top_p: Share of probability that stays, in (0, 1]; 1 keeps all.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> Sampler(temperature=0.8, top_k=40)
        Sampler(temperature=0.8, top_k=40, top_p=1.0)
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(
                "`temperature` must be a finite number of at least 0. "
                f"Received: temperature={self.temperature}. 1.0 leaves the model's own odds."
            )
        if self.top_k < 0 or self.top_k != int(self.top_k):
            raise ValueError(
                "`top_k` must be an integer of at least 0. "
                f"Received: top_k={self.top_k}. 0 keeps all tokens."
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(
                "`top_p` must be above 0 and at most 1. "
                f"Received: top_p={self.top_p}. 1.0 keeps all tokens."
            )


# The strings that KerasHub takes for its samplers, as far as they are built here.
NAMED = {
    "greedy": Sampler(temperature=0.0),
    "random": Sampler(),
    "top_k": Sampler(top_k=DEFAULT_TOP_K),
    "top_p": Sampler(top_p=DEFAULT_TOP_P),
}


def resolve(
    sampler: Sampler | str | None,
    *,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Sampler:
    """Returns the sampler that a caller's arguments mean.

    Args:
        sampler: A `Sampler`, the name of one, or None: greedy if no number is
            given, else a draw by these numbers.
        temperature: Replaces the sampler's, if given.
        top_k: Replaces the sampler's, if given.
        top_p: Replaces the sampler's, if given.

    Raises:
        ValueError: If the name is unknown or a number out of its range.

    Example:
        >>> resolve("top_k", temperature=0.7)
        Sampler(temperature=0.7, top_k=40, top_p=1.0)
        >>> resolve(None)
        Sampler(temperature=0.0, top_k=0, top_p=1.0)
    """
    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    changes = {name: value for name, value in given.items() if value is not None}
    if sampler is None:
        sampler = NAMED["random" if changes else "greedy"]
    if isinstance(sampler, str):
        if sampler not in NAMED:
            raise ValueError(
                f"`sampler` must be one of {', '.join(NAMED)}, or a Sampler. "
                f"Received: sampler={sampler!r}."
            )
        sampler = NAMED[sampler]
    return dataclasses.replace(sampler, **changes)  # type: ignore[arg-type]
