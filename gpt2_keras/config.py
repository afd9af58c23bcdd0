"""The shape of a GPT-2."""

import dataclasses
import json
import math
from typing import Any, Self

POSITION_EMBEDDINGS = ("learned", "sinusoidal")


@dataclasses.dataclass(frozen=True)
class GPT2Config:
    """The numbers that define a GPT-2, checked to fit together.

    The defaults are those of the smallest published model (124M parameters).
    Source: `hparams.json` of openai/gpt-2, and table 2 of "Language Models are
    Unsupervised Multitask Learners" (Radford et al., 2019).

    Args:
        vocab_size: Number of token ids, at least 1.
        context_length: Largest number of tokens the model can look at.
        num_layers: Number of decoder blocks.
        num_heads: Number of attention heads. Must divide `hidden_dim`.
        hidden_dim: Width of the residual stream.
        intermediate_dim: Width inside the feed-forward network. By default
            `4 * hidden_dim`.
        dropout_rate: Share of activations zeroed in training, in [0, 1), at the
            three places GPT-2 has dropout: after the embeddings, on the
            attention weights, and on the output of each sub-layer.
        position_embedding: `"learned"` as in GPT-2, or `"sinusoidal"` as in the
            original Transformer (needs an even `hidden_dim`).

    Raises:
        TypeError: If a count is not an integer.
        ValueError: If a value is out of its range or two do not fit together.

    Example:
        >>> GPT2Config.gpt2().num_parameters
        124439808
        >>> GPT2Config(num_layers=2, num_heads=2, hidden_dim=64).intermediate_dim
        256
    """

    vocab_size: int = 50257
    context_length: int = 1024
    num_layers: int = 12
    num_heads: int = 12
    hidden_dim: int = 768
    intermediate_dim: int | None = None
    dropout_rate: float = 0.1
    position_embedding: str = "learned"

    def __post_init__(self) -> None:
        if self.intermediate_dim is None and _is_integer(self.hidden_dim):
            object.__setattr__(self, "intermediate_dim", 4 * self.hidden_dim)
        for name in _COUNTS:
            _check_count(name, getattr(self, name))
        if self.hidden_dim % self.num_heads:
            raise ValueError(
                "`num_heads` must divide `hidden_dim`. "
                f"Received: num_heads={self.num_heads}, hidden_dim={self.hidden_dim}. "
                f"Use, for example, num_heads={math.gcd(self.hidden_dim, self.num_heads)}."
            )
        if isinstance(self.dropout_rate, bool) or not isinstance(self.dropout_rate, int | float):
            raise TypeError(
                "`dropout_rate` must be a number. "
                f"Received: dropout_rate={self.dropout_rate!r}. Use, for example, 0.1."
            )
        if not 0 <= self.dropout_rate < 1:
            raise ValueError(
                "`dropout_rate` must be at least 0 and below 1. "
                f"Received: dropout_rate={self.dropout_rate}. Use 0.0 for no dropout."
            )
        if self.position_embedding not in POSITION_EMBEDDINGS:
            raise ValueError(
                f"`position_embedding` must be one of {', '.join(POSITION_EMBEDDINGS)}. "
                f"Received: position_embedding={self.position_embedding!r}."
                " GPT-2 itself has 'learned'."
            )
        if self.position_embedding == "sinusoidal" and self.hidden_dim % 2:
            raise ValueError(
                "Sinusoidal positions need an even `hidden_dim`. "
                f"Received: hidden_dim={self.hidden_dim}. Use {self.hidden_dim + 1}."
            )

    @classmethod
    def gpt2(cls, **changes: Any) -> Self:
        """Returns the 124M-parameter shape, with any field changed by keyword."""
        return cls.from_size("gpt2", **changes)

    @classmethod
    def gpt2_medium(cls, **changes: Any) -> Self:
        """Returns the 355M-parameter shape, with any field changed by keyword."""
        return cls.from_size("gpt2_medium", **changes)

    @classmethod
    def gpt2_large(cls, **changes: Any) -> Self:
        """Returns the 774M-parameter shape, with any field changed by keyword."""
        return cls.from_size("gpt2_large", **changes)

    @classmethod
    def gpt2_xl(cls, **changes: Any) -> Self:
        """Returns the 1558M-parameter shape, with any field changed by keyword."""
        return cls.from_size("gpt2_xl", **changes)

    @classmethod
    def from_size(cls, name: str, **changes: Any) -> Self:
        """Returns a published size by its name.

        Args:
            name: `gpt2`, `gpt2_medium`, `gpt2_large` or `gpt2_xl`; a hyphen
                stands for an underscore.
            **changes: Fields to set otherwise.

        Raises:
            ValueError: If the name is none of these.
        """
        key = name.replace("-", "_")
        if key not in SIZES:
            raise ValueError(
                f"The size must be one of {', '.join(SIZES)}. Received: {name!r}. "
                "For another shape give the numbers themselves."
            )
        return cls(**{**SIZES[key], **changes})

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_dim // self.num_heads

    @property
    def num_parameters(self) -> int:
        """Number of trained numbers; the output projection is the token embedding."""
        width, inner = self.hidden_dim, self.feed_forward_dim
        attention = width * 3 * width + 3 * width + width * width + width
        feed_forward = width * inner + inner + inner * width + width
        norms = 4 * width
        positions = self.context_length * width if self.position_embedding == "learned" else 0
        return (
            self.vocab_size * width
            + positions
            + self.num_layers * (attention + feed_forward + norms)
            + 2 * width
        )

    @property
    def feed_forward_dim(self) -> int:
        """`intermediate_dim` once its default is filled in."""
        assert self.intermediate_dim is not None  # noqa: S101 -- tells the type checker
        return self.intermediate_dim

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a plain dictionary."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Returns the config of a dictionary made by `to_dict`.

        Raises:
            ValueError: If a key is not a field.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(fields) - set(names))
        if unknown:
            raise ValueError(
                f"A GPT2Config has the fields {', '.join(names)}. "
                f"Received: {', '.join(unknown)}. Remove what is not a field."
            )
        return cls(**fields)

    def to_json(self) -> str:
        """Returns the fields as JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Returns the config of a JSON text made by `to_json`.

        Raises:
            ValueError: If the text is not a JSON object or a key is not a field.
        """
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ValueError(
                "A GPT2Config is a JSON object. "
                f"Received: {type(fields).__name__}. Use the text that `to_json` makes."
            )
        return cls.from_dict(fields)


_COUNTS = (
    "vocab_size",
    "context_length",
    "num_layers",
    "num_heads",
    "hidden_dim",
    "intermediate_dim",
)

# hparams.json of the four models published with openai/gpt-2.
SIZES: dict[str, dict[str, int]] = {
    "gpt2": {"num_layers": 12, "num_heads": 12, "hidden_dim": 768},
    "gpt2_medium": {"num_layers": 24, "num_heads": 16, "hidden_dim": 1024},
    "gpt2_large": {"num_layers": 36, "num_heads": 20, "hidden_dim": 1280},
    "gpt2_xl": {"num_layers": 48, "num_heads": 25, "hidden_dim": 1600},
}


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_count(name: str, value: object) -> None:
    """Refuses what is not an integer of at least 1."""
    if not _is_integer(value):
        raise TypeError(
            f"`{name}` must be an integer. Received: {name}={value!r}. Use, for example, 64."
        )
    if value < 1:  # type: ignore[operator]
        raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}. Use 1 or more.")
