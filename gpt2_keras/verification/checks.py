"""The comparisons of an artifact with its model."""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gpt2_keras.generation import LogitsProcessors, generate, score
from gpt2_keras.generation.compiled import cached_function
from gpt2_keras.generation.specs import IDS
from gpt2_keras.generation.tensorflow_functions import traced
from gpt2_keras.model import GPT2Model
from gpt2_keras.verification.artifact import Artifact
from gpt2_keras.verification.certificate import Check
from gpt2_keras.verification.task_check import check_task
from gpt2_keras.verification.text_suite import (
    GREEDY_PROMPTS,
    passages,
    special_token_texts,
    suite_texts,
)
from gpt2_keras.verification.weight_check import check_weights

# With float32 weights: both compute the same sums, in another order.
FLOAT32_TOLERANCE = 1e-4  # of the largest logit, or log-probability
FLOAT32_PERPLEXITY_TOLERANCE = 5e-5  # four digits
# With smaller types: what the rounding of the weights does to the text as a whole.
PERPLEXITY_TOLERANCE = 0.01
_MAX_SCORED_TOKENS = 2048  # of a batch to score, whose logits are tokens × vocab floats
_RANDOM_ROWS, _RANDOM_LENGTH = 4, 32  # where there is no tokenizer to make ids of text
Progress = Callable[[int, int], None]


def run_checks(
    model: GPT2Model, artifact: Artifact, text: str, on_progress: Progress | None = None
) -> tuple[Check, ...]:
    """Compares an artifact with a model.

    Args:
        model: The Keras model.
        artifact: The artifact.
        text: What perplexity is measured on; also a text for the tokenizer.
        on_progress: Called with the number of bytes of `text` done, and of all.

    Returns:
        The checks, in order. There are fewer of them without a tokenizer, or with
        another one than the model's.

    Raises:
        ValueError: If one of the two has a tokenizer and the other has not, or
            the text is empty.
    """
    exact = artifact.dtype == "float32" and model.compute_dtype == "float32"
    checks = [_check_ops(artifact), *check_weights(model, artifact)]
    if artifact.reads_text != (model.tokenizer is not None):
        has, lacks = ("artifact", "model") if artifact.reads_text else ("model", "artifact")
        raise ValueError(
            f"The {has} has a tokenizer and the {lacks} has none. Both must have one, or neither. "
            "Export this model again."
        )
    if model.tokenizer is None:
        compared = compare_logits(model, artifact, random_rows(model))
        return (*checks, _check_difference(artifact, exact, compared))
    tokenizer = model.tokenizer
    unsupported = artifact.unsupported_strings(model)
    length = artifact.context_length(model)
    chunks = re.split("|".join(map(re.escape, unsupported)), text) if unsupported else [text]
    parts = [part for chunk in chunks for part in passages(chunk, tokenizer, length)]
    if not parts:
        raise ValueError(
            f"The text of {len(text)} characters to measure on has no tokens. It must have at "
            "least one. Use a longer text, or none for the built-in one."
        )
    suite = [*suite_texts(), *special_token_texts(tokenizer)]
    supported = [each for each in suite if not any(what in each for what in unsupported)]
    checks += _check_tokenizer(model, artifact, [*supported, *parts])
    if not all(check.passed for check in checks):
        return tuple(checks)  # with other tokens there is nothing to compare
    counted = _with_progress(parts, on_progress)
    if artifact.gives_logits:
        rows = (np.array([tokenizer.encode(part)], np.int32) for part in counted)
        compared = compare_logits(model, artifact, rows)
    else:
        compared = compare_log_probs(model, artifact, counted)
    checks += [
        _check_difference(artifact, exact, compared),
        _check_greedy_texts(model, artifact, exact),
        _check_perplexity(exact, compared),
        *check_task(model, artifact, exact),
    ]
    return tuple(checks)


@dataclasses.dataclass
class Comparison:
    """The sums and maxima of a pass over text, of the model and of the artifact.

    Args:
        quantity: What is compared: `"logit"` or `"log-probability"`.
        difference: The largest difference.
        scale: The largest absolute value of the model.
        num_tokens: Number of tokens whose log-probabilities are summed.
        model_log_prob, artifact_log_prob: The sums.
    """

    quantity: str
    difference: float = 0.0
    scale: float = 0.0
    num_tokens: int = 0
    model_log_prob: float = 0.0
    artifact_log_prob: float = 0.0

    def add(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Compares an array of the model with one of the artifact, of the same shape."""
        # np.maximum keeps NaN, where max() may drop it.
        self.difference = float(np.maximum(self.difference, np.abs(ours - theirs).max()))
        self.scale = float(np.maximum(self.scale, np.abs(ours).max()))

    def add_log_probs(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Adds the log-probabilities of a text's tokens."""
        self.num_tokens += len(ours)
        self.model_log_prob += math.fsum(ours.tolist())
        self.artifact_log_prob += math.fsum(theirs.tolist())


def compare_logits(model: GPT2Model, artifact: Artifact, rows: Iterator[np.ndarray]) -> Comparison:
    """Compares logits of texts, each int32 (1, time)."""
    comparison = Comparison("logit")
    end = 0 if model.tokenizer is None else model.tokenizer.end_token_id
    forward = cached_function(
        model, "logits", (), lambda: traced(lambda ids: model(ids, training=False), [IDS])
    )
    for row in rows:
        inputs = np.concatenate([[[end]], row[:, :-1]], axis=1).astype(np.int32)  # shifted by one
        ours, theirs = forward(inputs).numpy()[0], artifact.logits(inputs)[0]  # (time, vocab)
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
    batch_size = max(1, min(32, _MAX_SCORED_TOKENS // model.config.context_length))
    while batch := list(itertools.islice(texts, batch_size)):
        scores: Any = score(model, batch)
        for scored, theirs in zip(scores, artifact.log_probs(batch, model), strict=True):
            ours = np.array(scored.log_probs, np.float32)
            comparison.add(ours, theirs)
            comparison.add_log_probs(ours, theirs)
    return comparison


def random_rows(model: GPT2Model) -> Iterator[np.ndarray]:
    """Yields ids, int32 (1, time), the same every time."""
    random = np.random.default_rng(0)
    length = min(_RANDOM_LENGTH, model.config.context_length)
    for _ in range(_RANDOM_ROWS):
        yield random.integers(0, model.config.vocab_size, (1, length)).astype(np.int32)


def _check_ops(artifact: Artifact) -> Check:
    """Counts the ops that the runtime does not have built in."""
    found = artifact.non_builtin_ops()
    failure = (
        f"The artifact has the ops {', '.join(found)}, which are not among {artifact.op_set}. "
        "It may have these alone. Please report this."
    )
    details = {"operators": len(artifact.ops())}
    return Check("non-builtin ops", len(found), 0, details, failure if found else "")


def _check_tokenizer(model: GPT2Model, artifact: Artifact, texts: list[str]) -> list[Check]:
    """Compares the ids of texts with the host tokenizer's, and the bytes of the ids."""
    ours = model.require_tokenizer().encode(texts)
    details = {"texts": len(texts), "tokens": sum(map(len, ours))}
    encoded = zip(texts, ours, artifact.encode(texts), strict=True)
    wrong = [(text, want, got) for text, want, got in encoded if want != got]
    failure = ""
    if wrong:
        text, ids, theirs = wrong[0]
        failure = (
            f"{len(wrong)} of {len(texts)} texts have other ids than those of the model's "
            f"tokenizer: {text[:40]!r} has {theirs[:8]}, and not {ids[:8]}. "
            "Export this model again."
        )
    checks = [Check("texts with other ids", len(wrong), 0, details, failure)]
    expected = [text.encode() for text in texts]
    pairs = zip(expected, artifact.decode(ours), strict=True)
    changed = [(want, got) for want, got in pairs if want != got]
    failure = ""
    if changed:
        want, got = changed[0]
        failure = (
            f"{len(changed)} of {len(texts)} texts do not come back from their ids: "
            f"{want[:40]!r} comes back as {got[:40]!r}. Export this model again."
        )
    return [*checks, Check("texts not read back", len(changed), 0, details, failure)]


def _check_difference(artifact: Artifact, exact: bool, compared: Comparison) -> Check:
    """Compares the largest difference with the scale of the logits, or log-probabilities."""
    limit = FLOAT32_TOLERANCE * compared.scale if exact else None
    figure = compared.difference
    passed = math.isfinite(figure) and (limit is None or figure <= limit)
    failure = (
        f"The largest {compared.quantity} difference is {figure:.3g}. It must be "
        f"{'finite' if limit is None else f'at most {limit:.2g}'}. "
        f"Export this model again as {artifact.format}; if it stays, please report it."
    )
    details = {"tokens": compared.num_tokens, "scale": compared.scale}
    name = f"largest {compared.quantity} difference"
    return Check(name, figure, limit, details, "" if passed else failure)


def _check_greedy_texts(model: GPT2Model, artifact: Artifact, exact: bool) -> Check:
    """Compares the greedy continuations of the prompts that fit."""
    count = artifact.max_new_tokens(model)
    room = artifact.context_length(model) - count
    encode = model.require_tokenizer().encode
    prompts = [prompt for prompt in GREEDY_PROMPTS if len(encode(prompt)) <= room]
    answers = artifact.generate_greedily(prompts, model) if prompts else []
    wrong: list[tuple[str, str]] = []
    for limit, by_config in sorted({(each.max_new_tokens, each.by_config) for each in answers}):
        asked = [e for e in answers if (e.max_new_tokens, e.by_config) == (limit, by_config)]
        settings: dict[str, Any] = {"sampler": "greedy", "logits_processors": LogitsProcessors()}
        if by_config:
            settings = {"temperature": 0.0}
        prompted = [answer.prompt for answer in asked]
        texts: Any = generate(model, prompted, max_new_tokens=limit, **settings)
        pairs = zip((answer.text for answer in asked), texts, strict=True)
        wrong += [(got, want) for got, want in pairs if got != want]
    failure = ""
    if wrong and exact:
        got, want = wrong[0]
        failure = (
            f"{len(wrong)} of {len(answers)} greedy texts differ from those of `model.generate`: "
            f"{got[:80]!r}, and from the model {want[:80]!r}. Export this model again."
        )
    details = {"texts": len(answers), "new_tokens": count}
    return Check("greedy texts that differ", len(wrong), 0 if exact else None, details, failure)


def _check_perplexity(exact: bool, compared: Comparison) -> Check:
    """Compares exp of the mean negative log-probability."""
    limit = FLOAT32_PERPLEXITY_TOLERANCE if exact else PERPLEXITY_TOLERANCE
    mean_ours = compared.model_log_prob / compared.num_tokens
    mean_theirs = compared.artifact_log_prob / compared.num_tokens
    with np.errstate(over="ignore"):  # an infinite one fails below
        ours, theirs = float(np.exp(-mean_ours)), float(np.exp(-mean_theirs))
        figure = float(abs(np.expm1(mean_ours - mean_theirs)))
    failure = (
        f"The perplexity is {theirs:.6g}, and from the model {ours:.6g}: they differ by "
        f"{figure:.3%}, and may by {limit:.3%}. "
        "Export with a larger dtype, or export this model again."
    )
    details = {"artifact": theirs, "model": ours, "tokens": compared.num_tokens}
    passed = figure <= limit  # which NaN is not
    return Check("perplexity difference", figure, limit, details, "" if passed else failure)


def _with_progress(parts: Sequence[str], on_progress: Progress | None) -> Iterator[str]:
    """Yields passages, and reports those before each as done."""
    done, total = 0, sum(len(part.encode()) for part in parts)
    for part in parts:
        yield part
        done += len(part.encode())
        if on_progress is not None:
            on_progress(done, total)
