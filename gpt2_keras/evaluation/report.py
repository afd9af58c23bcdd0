"""What an evaluation found, and how it was measured."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a text was scored: figures of another protocol are other figures.

    Args:
        context_length: Tokens in a window.
        stride: Tokens from the beginning of one window to that of the next.
        detokenizer: What the text was put through before it was tokenized.
        start_token: What stands before the first token of each text.
        dtype: What the model computes in.
    """

    context_length: int
    stride: int
    detokenizer: str
    start_token: str
    dtype: str

    @property
    def least_context(self) -> int:
        """How many tokens stand before every token scored, but for the first window's."""
        return self.context_length - self.stride + 1

    def to_text(self) -> str:
        """Returns the protocol in two sentences."""
        return (
            f"Each token is scored once, in windows of {self.context_length} tokens that move "
            f"on by {self.stride}, so with {self.least_context} to {self.context_length} tokens "
            f"before it; a text begins with {self.start_token}. Detokenizer: {self.detokenizer}; "
            "words, lines and bytes are those of the text before it."
        )


@dataclasses.dataclass(frozen=True)
class TextResult:
    """How well a model predicts a text.

    Args:
        name: The file, or the number of the text.
        num_tokens: Tokens scored: those of the detokenized text.
        num_words: Words of the original text, which white space separates.
        num_lines: Line ends of the original text.
        num_bytes: Bytes of the original text in UTF-8.
        log_prob: The log-probability of the text, in nats.
        standard_error: Of `loss`, from the differences between blocks of a
            window's length; NaN if there is only one.
        num_top_1: Tokens that the model found likeliest.
        num_top_5: Tokens among the five likeliest.

    Example:
        >>> result = TextResult("a.txt", 4, 3, 1, 12, -8.0, 0.1, 2, 4)
        >>> result.loss, round(result.perplexity, 2), round(result.bits_per_byte, 3)
        (2.0, 7.39, 0.962)
    """

    name: str
    num_tokens: int
    num_words: int
    num_lines: int
    num_bytes: int
    log_prob: float
    standard_error: float
    num_top_1: int
    num_top_5: int

    @property
    def loss(self) -> float:
        """Mean negative log-probability, in nats a token."""
        return -self.log_prob / self.num_tokens

    @property
    def perplexity(self) -> float:
        """exp of the loss: of a token of this model's tokenizer."""
        return exponential(self.loss)

    @property
    def perplexity_standard_error(self) -> float:
        """Standard error of the perplexity, to first order."""
        return self.perplexity * self.standard_error

    @property
    def word_perplexity(self) -> float:
        """exp of the negative log-probability a word: comparable between tokenizers."""
        return exponential(-self.log_prob / self.num_words) if self.num_words else math.nan

    @property
    def word_and_line_perplexity(self) -> float:
        """The same, with each line end counted as a word, as in WikiText's literature."""
        count = self.num_words + self.num_lines
        return exponential(-self.log_prob / count) if count else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Negative log₂-probability a byte: comparable between tokenizers, in any script."""
        return -self.log_prob / math.log(2) / self.num_bytes

    @property
    def accuracy(self) -> float:
        """Share of tokens that the model found likeliest."""
        return self.num_top_1 / self.num_tokens

    @property
    def top_5_accuracy(self) -> float:
        """Share of tokens among the five likeliest."""
        return self.num_top_5 / self.num_tokens

    def to_dict(self) -> dict[str, Any]:
        """Returns counts and measures for JSON, which has no word for what is not finite."""
        return as_json(self, TEXT_MEASURES)


TEXT_MEASURES = (
    "loss",
    "perplexity",
    "perplexity_standard_error",
    "word_perplexity",
    "word_and_line_perplexity",
    "bits_per_byte",
    "accuracy",
    "top_5_accuracy",
)


@dataclasses.dataclass(frozen=True)
class Report:
    """What `evaluate` found.

    Args:
        protocol: How the texts were scored.
        texts: The result of each.
    """

    protocol: Protocol
    texts: tuple[TextResult, ...]

    @property
    def total(self) -> TextResult:
        """The result of all texts as one, each token with the same weight."""
        return add_up(self.texts)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as a plain dictionary."""
        return {
            "protocol": {**dataclasses.asdict(self.protocol), "text": self.protocol.to_text()},
            "texts": [result.to_dict() for result in self.texts],
            "total": self.total.to_dict(),
        }

    def to_json(self) -> str:
        """Returns the report as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"


def add_up(results: Sequence[TextResult]) -> TextResult:
    """Returns the result of several texts as if they were one."""
    sums: dict[str, Any] = {
        field.name: sum(getattr(result, field.name) for result in results)
        for field in dataclasses.fields(TextResult)
        if field.name not in ("name", "standard_error")
    }
    errors = [result.standard_error * result.num_tokens for result in results]
    return TextResult("all", standard_error=math.hypot(*errors) / sums["num_tokens"], **sums)


def as_json(result: Any, measures: Sequence[str]) -> dict[str, Any]:
    """Returns a result's fields and measures; None for what is not finite."""
    fields = {**dataclasses.asdict(result), **{name: getattr(result, name) for name in measures}}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
    }


def exponential(exponent: float) -> float:
    """Returns exp, or infinity where Python would raise."""
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf
