"""What is measured on an artefact, side by side with the Keras model."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gpt2_keras.export.artefacts import Artefact
from gpt2_keras.export.comparison import (
    Comparison,
    compare_log_probs,
    compare_logits,
    random_rows,
)
from gpt2_keras.export.text_suite import GREEDY_PROMPTS, passages, suite_texts
from gpt2_keras.model import GPT2LM

# Of float32: both compute the same sums, in another order.
FLOAT32_TOLERANCE = 1e-4  # of the largest logit, or log-probability
FLOAT32_PERPLEXITY_TOLERANCE = 5e-5  # four digits
# Of smaller types: what the rounding of the weights does to the text as a whole.
PERPLEXITY_TOLERANCE = 0.01
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Check:
    """One comparison of an artefact and its model.

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
    model: GPT2LM, artefact: Artefact, text: str, on_progress: Progress | None = None
) -> tuple[Check, ...]:
    """Compares an artefact with a model.

    Args:
        model: The Keras model.
        artefact: The artefact.
        text: What perplexity is measured on; also a text of the tokenizer's.
        on_progress: Called with the number of bytes of `text` done, and of all.

    Returns:
        The checks, in order. There are fewer of them without a tokenizer, or with
        another one than the model's.

    Raises:
        ValueError: If one of the two has a tokenizer and the other has not, or
            the text is empty.
    """
    exact = artefact.dtype == "float32" and model.compute_dtype == "float32"
    checks = [_operators(artefact)]
    if artefact.reads_text != (model.tokenizer is not None):
        raise ValueError(
            "The artefact must have a tokenizer if the model has one. Received: tokenizers of the "
            f"artefact: {int(artefact.reads_text)}, of the model: {int(not artefact.reads_text)}. "
            "Export this model again."
        )
    if model.tokenizer is None:
        rows = random_rows(model)
        return (*checks, _differences(artefact, exact, compare_logits(model, artefact, rows)))
    tokenizer = model.tokenizer
    unreadable = artefact.unreadable(model)
    length = artefact.context_length(model)
    pieces = _without(unreadable, text)
    parts = [part for piece in pieces for part in passages(piece, tokenizer, length)]
    if not parts:
        raise ValueError(
            "The text to measure on must have a token at least. "
            f"Received: {len(text)} characters. Give more text, or none for the built-in one."
        )
    known = [each for each in suite_texts() if not any(what in each for what in unreadable)]
    checks += _tokens(model, artefact, [*known, *parts])
    if not all(check.passed for check in checks):
        return tuple(checks)  # of other tokens there is nothing to compare
    counted = _counted(parts, on_progress)
    if artefact.gives_logits:
        rows = (np.array([tokenizer.encode(part)], np.int32) for part in counted)
        compared = compare_logits(model, artefact, rows)
    else:
        compared = compare_log_probs(model, artefact, counted)
    checks += [
        _differences(artefact, exact, compared),
        _greedy(model, artefact, exact),
        _perplexity(exact, compared),
    ]
    return tuple(checks)


def _operators(artefact: Artefact) -> Check:
    foreign = artefact.foreign_operators()
    failure = (
        f"The artefact must hold {artefact.home} alone. Received: {', '.join(foreign)}. "
        "Please report this."
    )
    details = {"operators": len(artefact.operators())}
    return Check("foreign operators", len(foreign), 0, details, failure if foreign else "")


def _tokens(model: GPT2LM, artefact: Artefact, texts: list[str]) -> list[Check]:
    """Compares the ids of texts with the host tokenizer's, and the bytes of the ids."""
    ours = model.require_tokenizer().encode(texts)
    theirs = artefact.encode(texts)
    details = {"texts": len(texts), "tokens": sum(map(len, ours))}
    pairs = zip(texts, ours, theirs, strict=True)
    wrong = [(text, want, got) for text, want, got in pairs if want != got]
    failure = ""
    if wrong:
        text, want, got = wrong[0]
        failure = (
            "The artefact must give the ids of the model's tokenizer. "
            f"Received: {len(wrong)} of {len(texts)} texts with other ids; {text[:40]!r} is "
            f"{got[:8]}, and for the tokenizer {want[:8]}. Export this model again."
        )
    checks = [Check("texts with other ids", len(wrong), 0, details, failure)]
    read = [(row, text.encode()) for row, text in zip(ours, texts, strict=True)]
    answers = artefact.decode(ours)
    lost = [(raw, got) for (_, raw), got in zip(read, answers, strict=True) if raw != got]
    failure = ""
    if lost:
        failure = (
            "The artefact must turn ids into the bytes they stand for. "
            f"Received: {len(lost)} of {len(texts)} texts that come back changed; "
            f"{lost[0][0][:40]!r} as {lost[0][1][:40]!r}. Export this model again."
        )
    return [*checks, Check("texts not read back", len(lost), 0, details, failure)]


def _differences(artefact: Artefact, exact: bool, compared: Comparison) -> Check:
    limit = FLOAT32_TOLERANCE * compared.scale if exact else None
    figure = compared.difference
    bad = not math.isfinite(figure) or (limit is not None and figure > limit)
    failure = (
        f"The largest {compared.what} difference must be "
        f"{'finite' if limit is None else f'at most {limit:.2g}'}. Received: {figure:.3g}. "
        f"Export this model again as {artefact.kind}; if it stays, please report it."
    )
    details = {"tokens": compared.tokens, "scale": compared.scale}
    name = f"largest {compared.what} difference"
    return Check(name, figure, limit, details, failure if bad else "")


def _greedy(model: GPT2LM, artefact: Artefact, exact: bool) -> Check:
    """Compares greedy texts of the prompts that fit."""
    count = artefact.new_tokens(model)
    room = artefact.context_length(model) - count
    encode = model.require_tokenizer().encode
    prompts = [prompt for prompt in GREEDY_PROMPTS if len(encode(prompt)) <= room]
    answers = artefact.continue_greedily(prompts, model) if prompts else []
    wrong = []
    for limit in sorted({answer.limit for answer in answers}):
        asked = [answer for answer in answers if answer.limit == limit]
        texts = model.generate([answer.prompt for answer in asked], max_new_tokens=limit)
        pairs = [(answer.text, text) for answer, text in zip(asked, texts, strict=True)]
        wrong += [(got, want) for got, want in pairs if got != want]
    failure = ""
    if wrong and exact:
        failure = (
            "The artefact must continue a text as `model.generate` does. Received: "
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
    details = {"artefact": theirs, "model": ours, "tokens": compared.tokens}
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
