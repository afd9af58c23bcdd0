"""The results of an evaluation and its protocol."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The protocol of an evaluation; only figures of one protocol can be compared.

    Args:
        context_length: Tokens in a window.
        stride: Tokens from the beginning of one window to that of the next.
        detokenizer: The detokenizer of the text; see `detokenize`.
        start_token: The token before the first token of each text.
        dtype: The dtype policy of the model.
    """

    context_length: int
    stride: int
    detokenizer: str
    start_token: str
    dtype: str

    @property
    def least_context(self) -> int:
        """Smallest number of tokens before a scored token, outside the first window."""
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
    """The counts and measures of one text.

    Args:
        name: The file, or the index of the text.
        num_tokens: Tokens scored: those of the detokenized text.
        num_words: Words of the original text, separated by white space.
        num_lines: Line ends of the original text.
        num_bytes: Bytes of the original text in UTF-8.
        log_prob: The log-probability of the text, in nats.
        standard_error: Standard error of `loss`, from the differences between blocks
            of a window's length; NaN if there is only one block.
        num_top_1: Tokens that were the most likely one.
        num_top_5: Tokens that were among the five most likely.

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
        """Mean negative log-probability, in nats per token."""
        return -self.log_prob / self.num_tokens

    @property
    def perplexity(self) -> float:
        """exp of the loss, which is per token of this model's tokenizer."""
        return exponential(self.loss)

    @property
    def perplexity_standard_error(self) -> float:
        """Standard error of the perplexity, to first order."""
        return self.perplexity * self.standard_error

    @property
    def word_perplexity(self) -> float:
        """exp of the negative log-probability per word: comparable between tokenizers."""
        return exponential(-self.log_prob / self.num_words) if self.num_words else math.nan

    @property
    def word_and_line_perplexity(self) -> float:
        """`word_perplexity` with each line end counted as a word, as usual for WikiText."""
        count = self.num_words + self.num_lines
        return exponential(-self.log_prob / count) if count else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Negative log₂-probability per byte: comparable between tokenizers and scripts."""
        return -self.log_prob / math.log(2) / self.num_bytes

    @property
    def accuracy(self) -> float:
        """Fraction of tokens that were the most likely one."""
        return self.num_top_1 / self.num_tokens

    @property
    def top_5_accuracy(self) -> float:
        """Fraction of tokens that were among the five most likely."""
        return self.num_top_5 / self.num_tokens

    def to_dict(self) -> dict[str, Any]:
        """Returns counts and measures for JSON; what is not finite becomes None."""
        return as_json(self)


@dataclasses.dataclass(frozen=True)
class Report:
    """The results of `evaluate`.

    Args:
        protocol: The protocol.
        texts: The result of each text.
    """

    protocol: Protocol
    texts: tuple[TextResult, ...]

    @property
    def total(self) -> TextResult:
        """The result of all texts together, each token with the same weight."""
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
    """Returns the result of several texts together."""
    sums: dict[str, Any] = {
        field.name: sum(getattr(result, field.name) for result in results)
        for field in dataclasses.fields(TextResult)
        if field.name not in ("name", "standard_error")
    }
    errors = [result.standard_error * result.num_tokens for result in results]
    return TextResult("all", standard_error=math.hypot(*errors) / sums["num_tokens"], **sums)


def as_json(result: Any) -> dict[str, Any]:
    """Returns the fields and properties of a result; what is not finite becomes None."""
    fields = dataclasses.asdict(result)
    for base in reversed(type(result).__mro__):  # those of the base class first
        properties = [name for name, one in vars(base).items() if isinstance(one, property)]
        fields |= {name: getattr(result, name) for name in properties}
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
