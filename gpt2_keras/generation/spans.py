"""Log-probabilities and ranks of tokens, each given the tokens before it."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpt2_keras.generation.arrays import Array, xp
from gpt2_keras.generation.compiled import call_cached
from gpt2_keras.generation.log_probs import token_log_probs
from gpt2_keras.generation.padding import left_padding_mask, pad
from gpt2_keras.generation.specs import COUNTS, IDS
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_integer

# Limits of a batch whose size is not given.
LARGEST_LOGITS = 2**26  # 256 MB in float32
LARGEST_BATCH = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Span:
    """Tokens that a model reads, and the tokens to score.

    Args:
        inputs: Int array `(time,)`, at most `context_length` tokens.
        targets: Int array `(count,)`, with `1 <= count <= time`: the tokens after each
            of the last `count` inputs.
    """

    inputs: np.ndarray
    targets: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class SpanScore:
    """The scores of the targets of a span.

    Args:
        log_probs: Float32 array `(count,)`: the log-probability of each target, in nats.
        ranks: Int32 array `(count,)`: how many tokens of the vocabulary are more likely;
            0 for the most likely token.
        filtered_ranks: The same among the tokens that are not ignored; the size of the
            vocabulary for one that is.
    """

    log_probs: np.ndarray
    ranks: np.ndarray
    filtered_ranks: np.ndarray

    @property
    def total(self) -> float:
        """The log-probability of all targets together, in nats."""
        return math.fsum(self.log_probs.astype("float64"))


def score_spans(
    model: GPT2Model,
    spans: Sequence[Span],
    *,
    batch_size: int | None = None,
    ignored_ids: Sequence[int] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> list[SpanScore]:
    """Scores the targets of many spans.

    Spans of about the same length are batched together. How they are batched changes
    scores by rounding only.

    Args:
        model: The model.
        spans: The spans.
        batch_size: Spans in a batch. By default as many as keep the logits under
            256 MB, at most 32.
        ignored_ids: Tokens that `filtered_ranks` leaves out.
        on_progress: Called with the number of tokens scored and of all.

    Returns:
        The scores, in the order of the spans.

    Raises:
        TypeError, ValueError: If `batch_size` is not an integer of at least 1.
        ValueError: If a log-probability is not finite.
        RuntimeError: If Keras runs on another backend than TensorFlow and JAX.
    """
    check_batch_size(batch_size)
    counts = _logit_counts([len(span.targets) for span in spans], model.config.context_length)
    order = sorted(range(len(spans)), key=lambda index: (counts[index], len(spans[index].inputs)))
    scores: dict[int, SpanScore] = {}
    ignored = np.array(sorted(ignored_ids), "int32")
    done, total = 0, sum(len(span.targets) for span in spans)
    for count, group in itertools.groupby(order, key=counts.__getitem__):
        largest = max(1, LARGEST_LOGITS // (count * model.config.vocab_size))
        rows = batch_size or min(LARGEST_BATCH, largest)
        indices = list(group)
        for start in range(0, len(indices), rows):
            batch = indices[start : start + rows]
            inputs = [spans[index].inputs for index in batch]
            token_ids, num_tokens = pad(inputs, 0, side="left", width=count)
            targets, _ = pad([spans[index].targets for index in batch], 0, side="left", width=count)
            log_probs, *ranks = call_cached(
                model,
                f"score the last {count}",
                tuple(ignored.tolist()),
                functools.partial(_score, model, count, ignored),
                [IDS, COUNTS, IDS],
                *(token_ids, num_tokens, targets),
            )
            for row, index in enumerate(batch):
                first = count - len(spans[index].targets)
                found = [values[row, first:] for values in (log_probs, ranks[0], ranks[-1])]
                scores[index] = SpanScore(*found)
                _check_finite(scores[index].log_probs)
                done += count - first
            if on_progress is not None:
                on_progress(done, total)
    return [scores[index] for index in range(len(spans))]


def check_batch_size(batch_size: object) -> None:
    """Raises as `check_integer` does, unless the batch size is None or a positive integer."""
    if batch_size is not None:
        check_integer("batch_size", batch_size, minimum=1, advice="Leave it out to choose it.")


def _score(
    model: GPT2Model,
    count: int,
    ignored: np.ndarray,
    token_ids: Any,
    num_tokens: Any,
    targets: Any,
) -> tuple[Array, ...]:
    """Scores targets; (batch, time), (batch,), (batch, count) → tensors (batch, count)."""
    mask = left_padding_mask(num_tokens, xp.shape(token_ids)[1])
    logits = model(token_ids, padding_mask=mask, num_logits=count, training=False)
    own = xp.gather(logits, xp.expand_dims(targets, 2), batch_dims=2)  # (batch, count, 1)
    more = xp.cast(logits > own, "int32")  # (batch, count, vocab)
    scores = (token_log_probs(logits, targets), xp.sum(more, axis=2))
    if not len(ignored):
        return scores
    kept = np.ones(model.config.vocab_size, "int32")
    kept[ignored] = 0
    is_kept = xp.gather(xp.constant(kept), targets)  # (batch, count)
    filtered = xp.sum(more * kept, axis=2) + (1 - is_kept) * len(kept)
    return (*scores, filtered)


def _logit_counts(num_targets: Sequence[int], most: int) -> list[int]:
    """Returns the number of positions for which each span gets logits: few different numbers.

    Each number needs a trace, which takes seconds for a large model. The numbers are powers
    of two, and one of only a few spans becomes the next larger one.
    """
    counts = [min(1 << (number - 1).bit_length(), most) for number in num_targets]
    sizes = sorted(set(counts))
    for size, larger in itertools.pairwise(sizes):
        if counts.count(size) < LARGEST_BATCH:
            counts = [larger if count == size else count for count in counts]
    return counts


def _check_finite(log_probs: np.ndarray) -> None:
    if not np.isfinite(log_probs).all():
        wrong = log_probs[~np.isfinite(log_probs)][0]
        raise ValueError(
            f"The model gives a token the log-probability {wrong}, which is not finite. "
            "Its weights are damaged or too large for its dtype; use float32 or other weights."
        )
