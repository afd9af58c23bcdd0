"""How likely a model finds a text, and what it expects next."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from gpt2_keras.generation.compiled import compiled
from gpt2_keras.generation.prompts import check_texts, encode_prompts, pad
from gpt2_keras.model import GPT2Model


@dataclasses.dataclass(frozen=True)
class Score:
    """What a model thinks of a text.

    Args:
        token_ids: The ids of the text's tokens.
        tokens: Their text; bytes that are no character show as U+FFFD.
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
        """exp of the mean negative log-probability a token; NaN for an empty text."""
        count = len(self.log_probs)
        return math.exp(-self.total / count) if count else math.nan


@dataclasses.dataclass(frozen=True)
class NextToken:
    """A candidate for the next token.

    Args:
        id: Its id.
        text: Its text; bytes that are no character show as U+FFFD.
        probability: Its share, in [0, 1].
    """

    id: int
    text: str
    probability: float


def score(model: GPT2Model, texts: str | Sequence[str]) -> Score | list[Score]:
    """Computes the log-probability of every token of texts.

    The first token is given `<|endoftext|>`, which in GPT-2's training text
    stands before every document.

    Args:
        model: A model with a tokenizer.
        texts: One text, or several; each at most `context_length` tokens.

    Returns:
        A `Score`, or a list of them for several texts.

    Raises:
        TypeError: If a text is not a `str`.
        ValueError: If a text has more tokens than `context_length`.
    """
    tokenizer = model.require_tokenizer()
    rows = [tokenizer.encode(text) for text in check_texts(texts)]
    for index, row in enumerate(rows):
        if len(row) > model.config.context_length:
            raise ValueError(
                "A text to score must fit into `context_length` tokens. "
                f"Received: text {index} with {len(row)} tokens, "
                f"context_length={model.config.context_length}. Score it in parts."
            )
    scores = []
    if any(rows):
        token_ids, num_tokens = pad(rows, tokenizer.end_token_id, side="right")
        log_probs = compiled(model).log_probs(token_ids, num_tokens).numpy()
    for index, row in enumerate(rows):
        values = log_probs[index, : len(row)].tolist() if row else []
        scores.append(Score(row, [tokenizer.decode([token]) for token in row], values))
    return scores[0] if isinstance(texts, str) else scores


def next_tokens(model: GPT2Model, prompt: str, *, k: int = 10) -> list[NextToken]:
    """Lists the likeliest next tokens.

    Args:
        model: A model with a tokenizer.
        prompt: The text so far. An empty one asks for the start of a text.
        k: How many, from 1 to the vocabulary's size.

    Returns:
        The candidates, the likeliest first.

    Raises:
        TypeError: If the prompt is not a `str`.
        ValueError: If `k` is out of range or the prompt longer than
            `context_length`.
    """
    if not 1 <= k <= model.config.vocab_size:
        raise ValueError(
            f"`k` must be at least 1 and at most vocab_size={model.config.vocab_size}. "
            f"Received: k={k}."
        )
    if not isinstance(prompt, str):
        raise TypeError(f"A prompt must be a str. Received: {type(prompt).__name__}.")
    tokenizer = model.require_tokenizer()
    rows = encode_prompts(model, [prompt], max_new_tokens=0)
    token_ids, num_tokens = pad(rows, tokenizer.end_token_id, side="left")
    ids, probabilities = compiled(model).next_tokens(token_ids, num_tokens, np.int32(k))
    pairs = zip(ids.numpy()[0].tolist(), probabilities.numpy()[0].tolist(), strict=True)
    return [NextToken(token, tokenizer.decode([token]), share) for token, share in pairs]
