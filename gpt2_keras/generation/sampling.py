"""The choice of the next token inside the graph: filters, and sampling from what they leave."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpt2_keras.generation.arrays import Array, xp
from gpt2_keras.generation.sampler import SamplingTensors
from gpt2_keras.generation.stateless_random import uniform


def choose(logits: Array, sampling: SamplingTensors, step: Any) -> Array:
    """Returns the next token of each row; see `Sampler`.

    Args:
        logits: Float32 tensor `(batch, vocab)`, penalties applied.
        sampling: Each row's settings.
        step: Int32 scalar: number of tokens sampled before.

    Returns:
        Int32 tensor `(batch,)`.
    """
    most_likely = xp.argmax(logits, axis=-1)
    is_sampled = sampling.temperature > 0

    def sampled() -> Array:
        ids = sample_ids(probabilities(logits, sampling), uniform(sampling.seed, step))
        return xp.where(is_sampled, ids, most_likely)

    return cond_any(is_sampled, sampled, most_likely)


def sample_ids(probs: Array, uniforms: Array) -> Array:
    """Samples by the inverse of the cumulative distribution.

    Args:
        probs: Float32 tensor `(batch, vocab)`; the sum of a row need not be 1.
        uniforms: Float32 tensor `(batch,)`, in [0, 1).

    Returns:
        Int32 tensor `(batch,)`.
    """
    cumulative = xp.cumsum(probs, axis=1)  # (batch, vocab)
    # Times the total, which rounding leaves near but not at 1.
    below = cumulative <= xp.expand_dims(uniforms, 1) * cumulative[:, -1:]
    return xp.sum(xp.cast(below, "int32"), axis=1)


def cond_any(active: Any, compute: Callable[[], Array], otherwise: Array) -> Array:
    """Computes a tensor if a condition holds anywhere.

    Args:
        active: Bool tensor; or an array, by which it is decided while the graph is traced.
        compute: Computes the result.
        otherwise: The result where the condition holds nowhere.
    """
    if isinstance(active, np.ndarray | np.bool_):
        return compute() if active.any() else otherwise
    return xp.cond(xp.any(active), compute, lambda: otherwise)


def probabilities(logits: Array, sampling: SamplingTensors) -> Array:
    """Returns the distribution that tokens are sampled from.

    Args:
        logits: Float32 tensor `(batch, vocab)`.
        sampling: Each row's settings. A temperature of 0 counts as 1.

    Returns:
        Float32 tensor `(batch, vocab)`; 0 for tokens that a filter drops.
    """
    temperature = xp.where(sampling.temperature > 0, sampling.temperature, 1.0)
    logits = logits / xp.expand_dims(temperature, 1)
    logits = _keep_most_likely(logits, sampling)
    logits = _where_any(sampling.min_p > 0, logits, lambda x: _min_p_floor(x, sampling.min_p))
    typical = sampling.typical_p < 1
    logits = _where_any(typical, logits, lambda x: _typical_floor(x, sampling.typical_p))
    return xp.softmax(logits)


def _where_any(active: Array, logits: Array, exclude: Any) -> Array:
    """Sets the logits that `exclude` selects in active rows to minus infinity, if any is active."""

    def filtered() -> Array:
        excluded = exclude(logits) & xp.expand_dims(active, 1)
        return xp.where(excluded, -float("inf"), logits)

    return cond_any(active, filtered, logits)


def _keep_most_likely(logits: Array, sampling: SamplingTensors) -> Array:
    """Keeps the tokens that `top_k` and `top_p` keep."""
    vocab_size = xp.shape(logits)[1]
    top_k = xp.where(sampling.top_k > 0, xp.minimum(sampling.top_k, vocab_size), vocab_size)
    narrowed = (sampling.top_k > 0) | (sampling.top_p < 1)

    def below_threshold(logits: Array) -> Array:
        return logits < xp.expand_dims(_threshold(logits, top_k, sampling.top_p), 1)

    return _where_any(narrowed, logits, below_threshold)


def _threshold(logits: Array, top_k: Array, top_p: Array) -> Array:
    """Returns the smallest logit that is kept in each row, (batch,)."""
    ordered = xp.largest(logits, top_k)  # (batch, widest)
    ranks = xp.expand_dims(xp.arange(xp.shape(ordered)[1]), 0)  # (1, widest)
    ordered = xp.where(ranks < xp.expand_dims(top_k, 1), ordered, -float("inf"))
    is_kept = _first_with_total(xp.softmax(ordered), top_p)
    return xp.min(xp.where(is_kept, ordered, float("inf")), axis=1)


def _first_with_total(probs: Array, total: Array) -> Array:
    """Returns the mask of the first of each row that have the total: (batch, n), (batch,)."""
    # One is kept while those before it have less; the first always is.
    before = xp.cumsum(probs, axis=1, exclusive=True)
    return (before < xp.expand_dims(total, 1)) & (probs > 0)


def _min_p_floor(logits: Array, min_p: Array) -> Array:
    """Returns the mask of tokens below `min_p` of the most likely token's probability."""
    # log 0 is minus infinity, below every logit.
    floor = xp.max(logits, axis=1) + xp.log(min_p)
    return logits < xp.expand_dims(floor, 1)


def _typical_floor(logits: Array, typical_p: Array) -> Array:
    """Returns the mask of tokens whose surprisal is too far from the entropy."""
    log_probs = xp.log_softmax(logits)
    probs = xp.exp(log_probs)
    surprisal = xp.where(probs > 0, -log_probs, 0.0)
    entropy = xp.sum(probs * surprisal, axis=1, keepdims=True)  # (batch, 1)
    distance = xp.where(probs > 0, xp.abs(surprisal - entropy), float("inf"))
    nearest = xp.argsort(distance, axis=1, stable=True)  # (batch, vocab)
    ordered = xp.gather(probs, nearest, batch_dims=1)
    is_kept = _first_with_total(ordered, typical_p)
    limit = xp.max(
        xp.where(is_kept, xp.gather(distance, nearest, batch_dims=1), -float("inf")), axis=1
    )
    return distance > xp.expand_dims(limit, 1)
