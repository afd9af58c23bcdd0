"""The configuration of a GPT-2: the numbers that give its shape, and the four published sizes."""

import dataclasses
import json
import math
from typing import Any, Self

from gpt2_keras.json_text import parse_json
from gpt2_keras.validation import check_choice, check_integer, check_number, check_text

POSITION_EMBEDDINGS = ("learned", "sinusoidal")


@dataclasses.dataclass(frozen=True)
class GPT2Config:
    """The numbers that define a GPT-2, checked to fit together.

    The defaults are those of the smallest published model (124M parameters).
    Source: `hparams.json` of openai/gpt-2, and table 2 of "Language Models are
    Unsupervised Multitask Learners" (Radford et al., 2019).

    Args:
        vocab_size: Number of token ids, at least 1.
        context_length: Largest number of tokens in a sequence.
        num_layers: Number of decoder blocks.
        num_heads: Number of attention heads. Must divide `hidden_dim`.
        hidden_dim: Width of the residual stream.
        intermediate_dim: Width inside the feed-forward network. By default
            `4 * hidden_dim`.
        dropout_rate: Fraction of activations zeroed in training, in [0, 1):
            after the embeddings, on the attention weights, and on the output of
            each sub-layer.
        position_embedding: `"learned"` as in GPT-2, or `"sinusoidal"` as in the
            original Transformer (needs an even `hidden_dim`).

    Raises:
        TypeError: If a value is of the wrong type.
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
        checked: dict[str, Any] = {}
        for name in _COUNTS:
            value = getattr(self, name)
            if name == "intermediate_dim" and value is None:
                value = 4 * checked["hidden_dim"]
            checked[name] = check_integer(name, value, minimum=1)
        width, num_heads = checked["hidden_dim"], checked["num_heads"]
        if width % num_heads:
            raise ValueError(
                f"num_heads={num_heads} does not divide hidden_dim={width}. "
                f"Use, for example, num_heads={math.gcd(width, num_heads)}."
            )
        checked["dropout_rate"] = check_number(
            "dropout_rate", self.dropout_rate, minimum=0, below=1, advice="0.0 is no dropout."
        )
        checked["position_embedding"] = check_choice(
            "position_embedding",
            self.position_embedding,
            POSITION_EMBEDDINGS,
            advice="GPT-2 itself has 'learned'.",
        )
        if self.position_embedding == "sinusoidal" and width % 2:
            raise ValueError(
                f"hidden_dim={width} is odd, and sinusoidal positions come in pairs of a sine and "
                f"a cosine. Use, for example, hidden_dim={width + num_heads}."
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)

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
        """Returns the config of a published size.

        Args:
            name: `gpt2`, `gpt2_medium`, `gpt2_large` or `gpt2_xl`; a hyphen
                stands for an underscore.
            **changes: Fields to set to another value.

        Raises:
            TypeError: If the name is not a `str`.
            ValueError: If the name is none of these.
        """
        key = check_text("name", name).replace("-", "_")
        advice = "For another shape give GPT2Config the numbers."
        return cls(**{**SIZES[check_choice("name", key, SIZES, advice=advice)], **changes})

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_dim // self.num_heads

    def parameters_by_part(self) -> dict[str, int]:
        """Returns the number of parameters of each part of the model.

        The output projection is the token embedding table and has none of its own.

        Example:
            >>> GPT2Config.gpt2().parameters_by_part()["token embeddings"] == 50257 * 768
            True
        """
        width, inner, layers = self.hidden_dim, self.feed_forward_dim, self.num_layers
        learned = self.position_embedding == "learned"
        return {
            "token embeddings": self.vocab_size * width,
            "positions": self.context_length * width if learned else 0,
            "attention": layers * (4 * width * width + 4 * width),
            "feed-forward": layers * (2 * width * inner + inner + width),
            "norms": layers * 4 * width + 2 * width,
        }

    @property
    def num_parameters(self) -> int:
        """Number of parameters of the whole model."""
        return sum(self.parameters_by_part().values())

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
                f"{', '.join(unknown)} is no field of GPT2Config. "
                f"Remove it; the fields are {', '.join(names)}."
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
        fields = parse_json(text)
        if not isinstance(fields, dict):
            raise ValueError(
                f"The JSON text holds a {type(fields).__name__}, and a GPT2Config is an object. "
                "Use the text that `to_json` returns."
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
