"""Tasks that a language model does without being trained for them."""

import dataclasses
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gpt2_keras.evaluation.examples import (
    CHOICES,
    LABEL,
    TEXT,
    check_example,
    read_examples,
)
from gpt2_keras.evaluation.report import as_json, exponential
from gpt2_keras.evaluation.spans import Span, SpanScore, score_spans
from gpt2_keras.model import GPT2Model

Path = str | os.PathLike[str]
Progress = Callable[[int, int], None]
_LAST_WORD = re.compile(r"(.*\S)(\s+)(\S+)\s*", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class _Answers:
    """How many of some examples a model gets right: what the results below share."""

    name: str
    num_examples: int
    num_correct: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.num_correct / self.num_examples

    @property
    def accuracy_standard_error(self) -> float:
        """Standard error of the accuracy, NaN for a single example."""
        if self.num_examples < 2:
            return math.nan
        return math.sqrt(self.accuracy * (1 - self.accuracy) / (self.num_examples - 1))


@dataclasses.dataclass(frozen=True)
class LastWordResult(_Answers):
    """How well a model says the last word of passages.

    Args:
        name: The file, or what the examples are called.
        num_examples: Number of passages.
        num_correct: Those of which each token of the last word is the likeliest,
            so that greedy decoding would have said the word.
        log_prob: Sum of the words' log-probabilities, in nats.
    """

    log_prob: float

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-probability of a last word."""
        return exponential(-self.log_prob / self.num_examples)

    def to_dict(self) -> dict[str, Any]:
        """Returns counts and measures for JSON."""
        return as_json(self, ("accuracy", "accuracy_standard_error", "perplexity"))


@dataclasses.dataclass(frozen=True)
class MultipleChoiceResult(_Answers):
    """How often a model finds the right choice the likeliest.

    Args:
        name: The file, or what the examples are called.
        num_examples: Number of questions.
        num_correct: Right by the log-probability of the whole choice, which favours
            short ones; `accuracy` is their share.
        num_correct_by_token: Right by its mean over the choice's tokens.
        num_correct_by_byte: Right by its mean over the choice's bytes in UTF-8.
    """

    num_correct_by_token: int
    num_correct_by_byte: int

    @property
    def accuracy_by_token(self) -> float:
        """Share of right choices by the log-probability a token."""
        return self.num_correct_by_token / self.num_examples

    @property
    def accuracy_by_byte(self) -> float:
        """Share of right choices by the log-probability a byte."""
        return self.num_correct_by_byte / self.num_examples

    def to_dict(self) -> dict[str, Any]:
        """Returns counts and measures for JSON."""
        measures = ("accuracy", "accuracy_standard_error", "accuracy_by_token", "accuracy_by_byte")
        return as_json(self, measures)


def last_word(
    model: GPT2Model,
    examples: Path | Sequence[str],
    *,
    batch_size: int | None = None,
    on_progress: Progress | None = None,
) -> LastWordResult:
    """Measures how well a model says the last word of passages, given the rest.

    The form of LAMBADA (Paperno et al., 2016). The word is what follows the last
    white space, punctuation included, with the space before it; no list of words
    is ruled out.

    Args:
        model: A model with a tokenizer.
        examples: A JSONL file of objects with `text`, or the passages themselves.
            A passage too long for the context loses its beginning.
        batch_size, on_progress: As for `evaluate`.

    Raises:
        ValueError: If a passage has fewer than two words, or the file is damaged.
        FileNotFoundError: If the file is not there.
    """
    if isinstance(examples, str | os.PathLike):
        name = str(examples)
        passages = [(at, row["text"]) for at, row in read_examples(examples, {"text": TEXT})]
    else:
        name = "passages"
        passages = [(f"passage {number}", text) for number, text in enumerate(examples)]
        _require_examples(passages)
    pairs = [_split_last_word(place, text) for place, text in passages]
    spans = _spans(model, pairs)
    scores = score_spans(model, spans, batch_size=batch_size, on_progress=on_progress)
    return LastWordResult(
        name=name,
        num_examples=len(pairs),
        num_correct=sum(not score.ranks.any() for score in scores),
        log_prob=math.fsum(_total(score) for score in scores),
    )


def multiple_choice(
    model: GPT2Model,
    examples: Path | Sequence[Mapping[str, Any]],
    *,
    batch_size: int | None = None,
    on_progress: Progress | None = None,
) -> MultipleChoiceResult:
    """Measures how often the right one of several continuations is the likeliest.

    One space is put between context and choice unless there is white space.

    Args:
        model: A model with a tokenizer.
        examples: A JSONL file of objects with `context`, `choices` and `label`,
            the number of the right choice from 0; or such objects themselves. A
            context too long loses its beginning.
        batch_size, on_progress: As for `evaluate`.

    Raises:
        ValueError: If an example is damaged.
        FileNotFoundError: If the file is not there.
    """
    rules = {"context": TEXT, "choices": CHOICES, "label": LABEL}
    if isinstance(examples, str | os.PathLike):
        name, rows = str(examples), read_examples(examples, rules)
    else:
        name = "questions"
        places = [(f"question {number}", row) for number, row in enumerate(examples)]
        rows = [(place, check_example(place, row, rules)) for place, row in places]
        _require_examples(rows)
    pairs: list[tuple[str, str, str]] = []
    for place, row in rows:
        if row["label"] >= len(row["choices"]):
            raise ValueError(
                "A label is the number of a choice, from 0. "
                f"Received: {place}: label={row['label']} of {len(row['choices'])} choices. "
                "Mend the label there."
            )
        pairs += [(place, *_join(row["context"], choice)) for choice in row["choices"]]
    scores = iter(
        score_spans(model, _spans(model, pairs), batch_size=batch_size, on_progress=on_progress)
    )
    correct = np.zeros(3, "int64")
    for _, row in rows:
        parts = [next(scores) for _ in row["choices"]]
        totals = np.array([_total(part) for part in parts])
        lengths = [
            np.ones(len(parts)),
            np.array([len(part.ranks) for part in parts]),
            np.array([len(choice.encode("utf-8", "replace")) for choice in row["choices"]]),
        ]
        correct += [int(np.argmax(totals / length)) == row["label"] for length in lengths]
    return MultipleChoiceResult(name, len(rows), *correct.tolist())


def _split_last_word(place: str, text: str) -> tuple[str, str, str]:
    """Returns the place, all but the last word, and the last word with the space before it."""
    match = _LAST_WORD.fullmatch(text)
    if match is None:
        raise ValueError(
            "A passage must have at least two words. "
            f"Received: {place}: {text[:80]!r}. Leave it out."
        )
    before, space, word = match.groups()
    if space.endswith(" "):  # a part of the word's first token, as everywhere in GPT-2
        return place, before + space[:-1], " " + word
    return place, before + space, word


def _join(context: str, choice: str) -> tuple[str, str]:
    """Returns what is given and what is scored; the white space between goes with the latter."""
    given = context.rstrip()
    between = context[len(given) :]
    if given and not between and not choice[0].isspace():
        between = " "
    return given, between + choice


def _spans(model: GPT2Model, pairs: Sequence[tuple[str, str, str]]) -> list[Span]:
    """Returns a span for each continuation; a context too long loses its beginning."""
    tokenizer = model.require_tokenizer()
    context = model.config.context_length
    given = tokenizer.encode([before for _, before, _ in pairs])
    wanted = tokenizer.encode([after for _, _, after in pairs])
    spans = []
    for (place, _, after), first, last in zip(pairs, given, wanted, strict=True):
        if len(last) > context:
            raise ValueError(
                "What is scored must fit into `context_length` tokens. "
                f"Received: {place}: {after[:40]!r} with {len(last)} tokens, "
                f"context_length={context}. Leave it out."
            )
        ids = np.array([tokenizer.end_token_id, *first, *last], "int32")
        spans.append(Span(ids[:-1][-context:], ids[-len(last) :]))
    return spans


def _require_examples(examples: Sequence[Any]) -> None:
    if not examples:
        raise ValueError("A task has at least one example. Received: an empty list. Name one.")


def _total(score: SpanScore) -> float:
    return math.fsum(score.log_probs.astype("float64"))
