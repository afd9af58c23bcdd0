"""Zero-shot tasks: what a language model does without training for it."""

import dataclasses
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gpt2_keras.evaluation.continuations import continuation_span, encode_pair, with_start_token
from gpt2_keras.evaluation.examples import CHOICES, LABEL, TEXT, check_example, read_examples
from gpt2_keras.evaluation.report import as_json, exponential
from gpt2_keras.generation.spans import Span, score_spans
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_integer, check_texts

Path = str | os.PathLike[str]
Progress = Callable[[int, int], None]
_LAST_WORD = re.compile(r"(.*\S)(\s+)(\S+)\s*", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class _Answers:
    """The number of examples that a model answers correctly; base of the results below."""

    name: str
    num_examples: int
    num_correct: int

    @property
    def accuracy(self) -> float:
        """Fraction of correct answers."""
        return self.num_correct / self.num_examples

    @property
    def accuracy_standard_error(self) -> float:
        """Standard error of the accuracy, NaN for a single example."""
        if self.num_examples < 2:
            return math.nan
        return math.sqrt(self.accuracy * (1 - self.accuracy) / (self.num_examples - 1))

    def to_dict(self) -> dict[str, Any]:
        """Returns counts and measures for JSON."""
        return as_json(self)


@dataclasses.dataclass(frozen=True)
class LastWordResult(_Answers):
    """How well a model predicts the last word of passages.

    Args:
        name: The file, or `"passages"`.
        num_examples: Number of passages.
        num_correct: Passages of which each token of the last word is the most likely
            one, so that greedy decoding would have generated the word.
        log_prob: Sum of the log-probabilities of the last words, in nats.
    """

    log_prob: float

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-probability of a last word."""
        return exponential(-self.log_prob / self.num_examples)


@dataclasses.dataclass(frozen=True)
class MultipleChoiceResult(_Answers):
    """How often the right choice is the most likely one.

    Args:
        name: The file, or `"questions"`.
        num_examples: Number of questions.
        num_correct: Questions whose right choice has the highest log-probability, which
            favours short choices; `accuracy` is their fraction.
        num_correct_by_token: The same by the log-probability per token of a choice.
        num_correct_by_byte: The same by the log-probability per byte of a choice in UTF-8.
    """

    num_correct_by_token: int
    num_correct_by_byte: int

    @property
    def accuracy_by_token(self) -> float:
        """Fraction of right choices by the log-probability per token."""
        return self.num_correct_by_token / self.num_examples

    @property
    def accuracy_by_byte(self) -> float:
        """Fraction of right choices by the log-probability per byte."""
        return self.num_correct_by_byte / self.num_examples


def last_word(
    model: GPT2Model,
    examples: Path | Sequence[str],
    *,
    batch_size: int | None = None,
    on_progress: Progress | None = None,
) -> LastWordResult:
    """Measures how well a model predicts the last word of passages, given the rest.

    The task of LAMBADA (Paperno et al., 2016). The word is the text after the last white
    space, with its punctuation and the space before it. No words are excluded.

    Args:
        model: A model with a tokenizer.
        examples: A JSONL file of objects with `text`, or the passages themselves.
            The beginning of a passage too long for the context is truncated.
        batch_size, on_progress: As for `evaluate`.

    Raises:
        TypeError: If a passage is not a `str`, or an argument is of the wrong type.
        ValueError: If a passage has fewer than two words, or the file is damaged.
        FileNotFoundError: If the file does not exist.
    """
    if isinstance(examples, str | os.PathLike):
        name = str(examples)
        rows = read_examples(examples, {"text": TEXT})
        pairs = [_split_last_word(source, row["text"]) for source, row in rows]
    else:
        name = "passages"
        texts = check_texts("examples", examples)
        pairs = [_split_last_word(f"passage {index}", text) for index, text in enumerate(texts)]
    spans = _spans(model, pairs)
    scores = score_spans(model, spans, batch_size=batch_size, on_progress=on_progress)
    return LastWordResult(
        name=name,
        num_examples=len(pairs),
        num_correct=sum(not score.ranks.any() for score in scores),
        log_prob=math.fsum(score.total for score in scores),
    )


def multiple_choice(
    model: GPT2Model,
    examples: Path | Sequence[Mapping[str, Any]],
    *,
    batch_size: int | None = None,
    on_progress: Progress | None = None,
) -> MultipleChoiceResult:
    """Measures how often the right one of several continuations is the most likely one.

    A space is inserted between context and choice unless there is white space.

    Args:
        model: A model with a tokenizer.
        examples: A JSONL file of objects with `context`, `choices` and `label`,
            the index of the right choice from 0; or such objects themselves. The
            beginning of a context too long is truncated.
        batch_size, on_progress: As for `evaluate`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a field of an example is missing or wrong, or there is no example.
        FileNotFoundError: If the file does not exist.
    """
    fields = {"context": TEXT, "choices": CHOICES, "label": LABEL}
    if isinstance(examples, str | os.PathLike):
        name, rows = str(examples), read_examples(examples, fields)
    else:
        name = "questions"
        named = [(f"question {index}", row) for index, row in enumerate(examples)]
        rows = [(source, check_example(source, row, fields)) for source, row in named]
        if not rows:
            raise ValueError("examples is empty. Use at least one question.")
    pairs: list[tuple[str, str, str]] = []
    for source, row in rows:
        last = len(row["choices"]) - 1
        check_integer(f"{source}: label", row["label"], minimum=0, maximum=last)
        pairs += [(source, *_join(row["context"], choice)) for choice in row["choices"]]
    spans = _spans(model, pairs)
    scores = iter(score_spans(model, spans, batch_size=batch_size, on_progress=on_progress))
    correct = np.zeros(3, "int64")
    for _, row in rows:
        choices = [next(scores) for _ in row["choices"]]
        totals = np.array([score.total for score in choices])
        lengths = [
            np.ones(len(choices)),
            np.array([len(score.ranks) for score in choices]),
            np.array([len(choice.encode("utf-8", "replace")) for choice in row["choices"]]),
        ]
        correct += [int(np.argmax(totals / length)) == row["label"] for length in lengths]
    return MultipleChoiceResult(name, len(rows), *correct.tolist())


def _split_last_word(source: str, text: str) -> tuple[str, str, str]:
    """Returns the source, all but the last word, and the last word with the space before it."""
    match = _LAST_WORD.fullmatch(text)
    if match is None:
        raise ValueError(f"{source} has fewer than two words: {text[:80]!r}. Leave it out.")
    before, space, word = match.groups()
    if space.endswith(" "):  # in GPT-2 the space is part of the first token of a word
        return source, before + space[:-1], " " + word
    return source, before + space, word


def _join(context: str, choice: str) -> tuple[str, str]:
    """Returns the text given and the text scored, which has the white space between them."""
    given = context.rstrip()
    between = context[len(given) :]
    if given and not between and not choice[0].isspace():
        between = " "
    return given, between + choice


def _spans(model: GPT2Model, pairs: Sequence[tuple[str, str, str]]) -> list[Span]:
    """Returns a span for each continuation; truncates the beginning of a context too long."""
    tokenizer = model.require_tokenizer()
    spans = []
    for source, before, after in pairs:
        given, scored = encode_pair(tokenizer, before, after, together=False)
        given = with_start_token(tokenizer, given, "always")
        spans.append(continuation_span(source, given, scored, model.config.context_length))
    return spans
