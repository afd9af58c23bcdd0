"""What is measured on an artifact, side by side with the Keras model."""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gpt2_keras.generation.compiled import IDS, kept_trace, traced
from gpt2_keras.model import GPT2Model
from gpt2_keras.verification.artifact import Artifact
from gpt2_keras.verification.text_suite import GREEDY_PROMPTS, passages, suite_texts

_TOKENS_AT_ONCE = 2048  # of a batch to score: its logits are tokens × vocab floats
_RANDOM_ROWS, _RANDOM_LENGTH = 4, 32  # where there is no tokenizer to make ids of text


@dataclasses.dataclass
class Comparison:
    """What a pass over text adds up to."""

    what: str
    difference: float = 0.0
    scale: float = 0.0
    tokens: int = 0
    ours: float = 0.0
    theirs: float = 0.0

    def add(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Compares two arrays of the same shape."""
        # np.maximum keeps NaN, where max() may drop it.
        self.difference = float(np.maximum(self.difference, np.abs(ours - theirs).max()))
        self.scale = float(np.maximum(self.scale, np.abs(ours).max()))

    def add_log_probs(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Adds the log-probabilities of a text's tokens."""
        self.tokens += len(ours)
        self.ours += math.fsum(ours.tolist())
        self.theirs += math.fsum(theirs.tolist())


def compare_logits(model: GPT2Model, artifact: Artifact, rows: Any) -> Comparison:
    """Compares logits of texts, each int32 (1, time)."""
    comparison = Comparison("logit")
    end = 0 if model.tokenizer is None else model.tokenizer.end_token_id
    forward = kept_trace(
        model, "logits", (), lambda: traced(lambda ids: model(ids, training=False), [IDS])
    )
    for row in rows:
        before = np.concatenate([[[end]], row[:, :-1]], axis=1).astype(np.int32)
        ours, theirs = forward(before).numpy()[0], artifact.logits(before)[0]
        comparison.add(ours, theirs)
        comparison.add_log_probs(_log_probs(ours, row[0]), _log_probs(theirs, row[0]))
    return comparison


def _log_probs(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Returns the log-probability of each id; (time, vocab), (time,) → (time,)."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, ids[:, np.newaxis], axis=1)[:, 0]
    result: np.ndarray = chosen - np.log(np.exp(shifted).sum(axis=-1))
    return result


def compare_log_probs(model: GPT2Model, artifact: Artifact, texts: Iterator[str]) -> Comparison:
    """Compares the log-probabilities of texts' tokens, a batch at a time."""
    comparison = Comparison("log-probability")
    size = max(1, min(32, _TOKENS_AT_ONCE // model.config.context_length))
    while batch := list(itertools.islice(texts, size)):
        scores = model.score(batch)
        for score, theirs in zip(scores, artifact.log_probs(batch), strict=True):
            ours = np.array(score.log_probs, np.float32)
            comparison.add(ours, theirs)
            comparison.add_log_probs(ours, theirs)
    return comparison


def random_rows(model: GPT2Model) -> Iterator[np.ndarray]:
    """Yields ids, int32 (1, time), the same every time."""
    random = np.random.default_rng(0)
    length = min(_RANDOM_LENGTH, model.config.context_length)
    for _ in range(_RANDOM_ROWS):
        yield random.integers(0, model.config.vocab_size, (1, length)).astype(np.int32)


# Of float32: both compute the same sums, in another order.
FLOAT32_TOLERANCE = 1e-4  # of the largest logit, or log-probability
FLOAT32_PERPLEXITY_TOLERANCE = 5e-5  # four digits
# Of smaller types: what the rounding of the weights does to the text as a whole.
PERPLEXITY_TOLERANCE = 0.01
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Check:
    """One comparison of an artifact and its model.

    Args:
        name: What was compared.
        figure: The difference found: a count, or a number.
        limit: The largest figure allowed; None for one that is only reported.
        details: What the figure was computed from.
        failure: What is wrong, in a sentence; empty if nothing is.
    """

    name: str
    figure: float
    limit: float | None
    details: dict[str, Any]
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failure

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields for JSON, which has no word for what is not finite."""
        figure = self.figure if math.isfinite(self.figure) else None
        return {**dataclasses.asdict(self), "figure": figure}


def run_checks(
    model: GPT2Model, artifact: Artifact, text: str, on_progress: Progress | None = None
) -> tuple[Check, ...]:
    """Compares an artifact with a model.

    Args:
        model: The Keras model.
        artifact: The artifact.
        text: What perplexity is measured on; also a text of the tokenizer's.
        on_progress: Called with the number of bytes of `text` done, and of all.

    Returns:
        The checks, in order. There are fewer of them without a tokenizer, or with
        another one than the model's.

    Raises:
        ValueError: If one of the two has a tokenizer and the other has not, or
            the text is empty.
    """
    exact = artifact.dtype == "float32" and model.compute_dtype == "float32"
    checks = [_operators(artifact)]
    if artifact.reads_text != (model.tokenizer is not None):
        raise ValueError(
            "The artifact must have a tokenizer if the model has one. Received: tokenizers of the "
            f"artifact: {int(artifact.reads_text)}, of the model: {int(not artifact.reads_text)}. "
            "Export this model again."
        )
    if model.tokenizer is None:
        rows = random_rows(model)
        return (*checks, _differences(artifact, exact, compare_logits(model, artifact, rows)))
    tokenizer = model.tokenizer
    unreadable = artifact.unreadable(model)
    length = artifact.context_length(model)
    pieces = _without(unreadable, text)
    parts = [part for piece in pieces for part in passages(piece, tokenizer, length)]
    if not parts:
        raise ValueError(
            "The text to measure on must have a token at least. "
            f"Received: {len(text)} characters. Give more text, or none for the built-in one."
        )
    known = [each for each in suite_texts() if not any(what in each for what in unreadable)]
    checks += _tokens(model, artifact, [*known, *parts])
    if not all(check.passed for check in checks):
        return tuple(checks)  # of other tokens there is nothing to compare
    counted = _counted(parts, on_progress)
    if artifact.gives_logits:
        rows = (np.array([tokenizer.encode(part)], np.int32) for part in counted)
        compared = compare_logits(model, artifact, rows)
    else:
        compared = compare_log_probs(model, artifact, counted)
    checks += [
        _differences(artifact, exact, compared),
        _greedy(model, artifact, exact),
        _perplexity(exact, compared),
    ]
    return tuple(checks)


def _operators(artifact: Artifact) -> Check:
    foreign = artifact.foreign_operators()
    failure = (
        f"The artifact must hold {artifact.home} alone. Received: {', '.join(foreign)}. "
        "Please report this."
    )
    details = {"operators": len(artifact.operators())}
    return Check("foreign operators", len(foreign), 0, details, failure if foreign else "")


def _tokens(model: GPT2Model, artifact: Artifact, texts: list[str]) -> list[Check]:
    """Compares the ids of texts with the host tokenizer's, and the bytes of the ids."""
    ours = model.require_tokenizer().encode(texts)
    theirs = artifact.encode(texts)
    details = {"texts": len(texts), "tokens": sum(map(len, ours))}
    pairs = zip(texts, ours, theirs, strict=True)
    wrong = [(text, want, got) for text, want, got in pairs if want != got]
    failure = ""
    if wrong:
        text, want, got = wrong[0]
        failure = (
            "The artifact must give the ids of the model's tokenizer. "
            f"Received: {len(wrong)} of {len(texts)} texts with other ids; {text[:40]!r} is "
            f"{got[:8]}, and for the tokenizer {want[:8]}. Export this model again."
        )
    checks = [Check("texts with other ids", len(wrong), 0, details, failure)]
    read = [(row, text.encode()) for row, text in zip(ours, texts, strict=True)]
    answers = artifact.decode(ours)
    lost = [(raw, got) for (_, raw), got in zip(read, answers, strict=True) if raw != got]
    failure = ""
    if lost:
        failure = (
            "The artifact must turn ids into the bytes they stand for. "
            f"Received: {len(lost)} of {len(texts)} texts that come back changed; "
            f"{lost[0][0][:40]!r} as {lost[0][1][:40]!r}. Export this model again."
        )
    return [*checks, Check("texts not read back", len(lost), 0, details, failure)]


def _differences(artifact: Artifact, exact: bool, compared: Comparison) -> Check:
    limit = FLOAT32_TOLERANCE * compared.scale if exact else None
    figure = compared.difference
    bad = not math.isfinite(figure) or (limit is not None and figure > limit)
    failure = (
        f"The largest {compared.what} difference must be "
        f"{'finite' if limit is None else f'at most {limit:.2g}'}. Received: {figure:.3g}. "
        f"Export this model again as {artifact.kind}; if it stays, please report it."
    )
    details = {"tokens": compared.tokens, "scale": compared.scale}
    name = f"largest {compared.what} difference"
    return Check(name, figure, limit, details, failure if bad else "")


def _greedy(model: GPT2Model, artifact: Artifact, exact: bool) -> Check:
    """Compares greedy texts of the prompts that fit."""
    count = artifact.new_tokens(model)
    room = artifact.context_length(model) - count
    encode = model.require_tokenizer().encode
    prompts = [prompt for prompt in GREEDY_PROMPTS if len(encode(prompt)) <= room]
    answers = artifact.continue_greedily(prompts, model) if prompts else []
    wrong = []
    for limit in sorted({answer.limit for answer in answers}):
        asked = [answer for answer in answers if answer.limit == limit]
        texts = model.generate([answer.prompt for answer in asked], max_new_tokens=limit)
        pairs = [(answer.text, text) for answer, text in zip(asked, texts, strict=True)]
        wrong += [(got, want) for got, want in pairs if got != want]
    failure = ""
    if wrong and exact:
        failure = (
            "The artifact must continue a text as `model.generate` does. Received: "
            f"{len(wrong)} of {len(answers)} texts that differ; {wrong[0][0][:80]!r}, and from "
            f"the model {wrong[0][1][:80]!r}. Export this model again."
        )
    details = {"texts": len(answers), "new_tokens": count}
    return Check("greedy texts that differ", len(wrong), 0 if exact else None, details, failure)


def _perplexity(exact: bool, compared: Comparison) -> Check:
    """Compares exp of the mean negative log-probability."""
    limit = FLOAT32_PERPLEXITY_TOLERANCE if exact else PERPLEXITY_TOLERANCE
    mean_ours, mean_theirs = compared.ours / compared.tokens, compared.theirs / compared.tokens
    with np.errstate(over="ignore"):  # an infinite one fails below
        ours, theirs = float(np.exp(-mean_ours)), float(np.exp(-mean_theirs))
        figure = float(abs(np.expm1(mean_ours - mean_theirs)))
    failure = (
        f"The perplexities may differ by {limit:.3%} at most. Received: {theirs:.6g}, and from "
        f"the model {ours:.6g}, which is {figure:.3%}. "
        "Export with a larger dtype, or export this model again."
    )
    details = {"artifact": theirs, "model": ours, "tokens": compared.tokens}
    # NaN is not at most anything.
    return Check(
        "perplexity difference", figure, limit, details, "" if figure <= limit else failure
    )


def _without(unreadable: Sequence[str], text: str) -> list[str]:
    """Returns what is between pieces of a text that are not read."""
    return re.split("|".join(map(re.escape, unreadable)), text) if unreadable else [text]


def _counted(parts: Sequence[str], on_progress: Progress | None) -> Iterator[str]:
    """Yields passages, and reports those before each as done."""
    done, total = 0, sum(len(part.encode()) for part in parts)
    for part in parts:
        yield part
        done += len(part.encode())
        if on_progress is not None:
            on_progress(done, total)
