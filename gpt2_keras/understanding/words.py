"""The surprisal of words, of which a tokenizer makes several tokens."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from gpt2_keras.understanding.exploration import Exploration
from gpt2_keras.understanding.explore import begins_word


@dataclasses.dataclass(frozen=True)
class Word:
    """A word of a text.

    Args:
        text: The word, with the whitespace before it.
        first, last: Indices of its first token and of its last.
        log_prob: Its log-probability given what stands before it, in nats.
        uncorrected: The sum of its tokens' log-probabilities.
    """

    text: str
    first: int
    last: int
    log_prob: float
    uncorrected: float

    @property
    def bits(self) -> float:
        """Its surprisal in bits."""
        return -self.log_prob / math.log(2)


def words(exploration: Exploration) -> list[Word]:
    """Returns the words of a text with their surprisal, corrected for beginnings of words.

    GPT-2's tokens mark where a word begins, with the space before it, and not where it ends. So
    the tokens of " cat" do not say that the word is over: that comes to light with the next
    token, whose probability pays for it. The corrected log-probability of a word is the sum of
    its tokens', plus the log-probability that a word begins after it, minus that one began
    before it (nothing for the first word of a text). Sources: Pimentel and Meister, "How to
    Compute the Probability of a Word" (2024); Oh and Schuler, "Leading Whitespaces of Language
    Models' Subword Vocabulary Pose a Confound for Calculating Word Probabilities" (2024).

    Whitespace alone, such as a line's end, is part of the word after it. The first token, of
    which nothing is known, is part of no word; nor are special tokens.

    Args:
        exploration: What `explore` returned, of a model with a tokenizer.

    Raises:
        ValueError: If the model had no tokenizer.
    """
    if not any(exploration.token_bytes):
        raise ValueError(
            "The exploration has no texts of tokens, so there are no words. The model must have a "
            "tokenizer. Set `model.tokenizer`, and explore again."
        )
    log_probs = exploration.log_probs.astype("float64")
    starts = exploration.word_start_log_probs.astype("float64")
    found: list[Word] = []
    for first, last in _groups(exploration):
        total = float(np.sum(log_probs[first : last + 1]))
        begins_text = bool(exploration.is_special[first - 1])
        before = 0.0 if begins_text else float(starts[first - 1])
        text = b"".join(exploration.token_bytes[first : last + 1]).decode(errors="replace")
        found.append(Word(text, first, last, total + float(starts[last]) - before, total))
    return found


def _groups(exploration: Exploration) -> Iterator[tuple[int, int]]:
    """Yields the first and the last token of each word."""
    data, special = exploration.token_bytes, exploration.is_special
    first = 1
    for index in range(1, len(data)):
        if special[index]:
            first = index + 1
            continue
        has_letters = b"".join(data[first : index + 1]).strip() != b""
        following = index + 1
        if following == len(data) or special[following]:
            yield first, index
        elif has_letters and begins_word(data[following]):
            yield first, index
            first = following
