"""The log-probabilities of a text, and the most likely next tokens."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from gpt2_keras.generation.compiled import compiled
from gpt2_keras.generation.padding import pad
from gpt2_keras.generation.prompts import encode_prompts
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.special_tokens import SpecialTokens
from gpt2_keras.validation import check_integer, check_text, check_texts


@dataclasses.dataclass(frozen=True)
class Score:
    """The log-probabilities of a text's tokens.

    Args:
        token_ids: The ids of the text's tokens.
        tokens: Their text; bytes that are no character appear as U+FFFD.
        log_probs: The log-probability of each, in nats, given those before it.
    """

    token_ids: list[int]
    tokens: list[str]
    log_probs: list[float]

    @property
    def total(self) -> float:
        """The log-probability of the whole text, in nats."""
        return math.fsum(self.log_probs)

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-probability per token; NaN for an empty text."""
        count = len(self.log_probs)
        return math.exp(-self.total / count) if count else math.nan


@dataclasses.dataclass(frozen=True)
class NextToken:
    """A candidate for the next token.

    Args:
        id: Its id.
        text: Its text; bytes that are no character appear as U+FFFD.
        probability: Its probability, in [0, 1].
    """

    id: int
    text: str
    probability: float


def score(
    model: GPT2Model,
    texts: str | Sequence[str],
    *,
    special_tokens: SpecialTokens | None = None,
) -> Score | list[Score]:
    """Computes the log-probability of every token of texts.

    `<|endoftext|>` stands before the first one, as before every document of GPT-2's training
    text.

    Args:
        model: A model with a tokenizer.
        texts: One text, or several; each at most `context_length` tokens.
        special_tokens: The special tokens in the text that become their ids, see
            `GPT2Tokenizer.with_special_tokens_policy`; by default the tokenizer's policy.
            `"none"` is right for text from outside.

    Returns:
        A `Score`, or a list of them for several texts.

    Raises:
        TypeError: If a text is not a `str`.
        ValueError: If a text has more tokens than `context_length`.
    """
    tokenizer = model.require_tokenizer().with_special_tokens_policy(special_tokens)
    rows = [tokenizer.encode(text) for text in check_texts("texts", texts)]
    for index, row in enumerate(rows):
        if len(row) > model.config.context_length:
            raise ValueError(
                f"texts[{index}] has {len(row)} tokens, more than "
                f"context_length={model.config.context_length}. Score it in chunks."
            )
    scores = []
    if any(rows):
        token_ids, num_tokens = pad(rows, tokenizer.end_token_id, side="right")
        log_probs = np.asarray(compiled(model).text_log_probs(token_ids, num_tokens))
    for index, row in enumerate(rows):
        values = log_probs[index, : len(row)].tolist() if row else []
        scores.append(Score(row, [tokenizer.decode([token]) for token in row], values))
    return scores[0] if isinstance(texts, str) else scores


def next_tokens(
    model: GPT2Model, prompt: str, *, k: int = 10, special_tokens: SpecialTokens | None = None
) -> list[NextToken]:
    """Lists the most likely next tokens.

    Args:
        model: A model with a tokenizer.
        prompt: The text so far. An empty one is for the start of a text.
        k: Number of candidates, from 1 to the vocabulary's size.
        special_tokens: As for `score`.

    Returns:
        The candidates, the most likely first.

    Raises:
        TypeError: If the prompt is not a `str` or `k` no integer.
        ValueError: If `k` is out of range or the prompt longer than
            `context_length`.
    """
    check_text("prompt", prompt)
    check_integer("k", k, minimum=1, maximum=model.config.vocab_size)
    tokenizer = model.require_tokenizer()
    rows = encode_prompts(model, [prompt], max_new_tokens=0, special_tokens=special_tokens)
    token_ids, num_tokens = pad(rows, model.require_tokenizer().end_token_id, side="left")
    ids, probabilities = compiled(model).next_tokens(token_ids, num_tokens, np.int32(k))
    pairs = zip(np.asarray(ids)[0].tolist(), np.asarray(probabilities)[0].tolist(), strict=True)
    return [NextToken(token, tokenizer.decode([token]), prob) for token, prob in pairs]
