"""The choice of the next token inside the graph: filters, and sampling from what they leave."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from gpt2_keras.generation.sampler import SamplingTensors
from gpt2_keras.generation.stateless_random import uniform


def choose(logits: tf.Tensor, sampling: SamplingTensors, step: Any) -> tf.Tensor:
    """Returns the next token of each row; see `Sampler`.

    Args:
        logits: Float32 tensor `(batch, vocab)`, penalties applied.
        sampling: Each row's settings.
        step: Int32 scalar: number of tokens sampled before.

    Returns:
        Int32 tensor `(batch,)`.
    """
    most_likely = tf.argmax(logits, axis=-1, output_type=tf.int32)
    is_sampled = sampling.temperature > 0

    def sampled() -> tf.Tensor:
        ids = sample_ids(probabilities(logits, sampling), uniform(sampling.seed, step))
        return tf.where(is_sampled, ids, most_likely)

    return cond_any(is_sampled, sampled, most_likely)


def sample_ids(probs: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """Samples by the inverse of the cumulative distribution.

    Args:
        probs: Float32 tensor `(batch, vocab)`; the sum of a row need not be 1.
        uniforms: Float32 tensor `(batch,)`, in [0, 1).

    Returns:
        Int32 tensor `(batch,)`.
    """
    cumulative = tf.cumsum(probs, axis=1)  # (batch, vocab)
    # Times the total, which rounding leaves near but not at 1.
    below = cumulative <= tf.expand_dims(uniforms, 1) * cumulative[:, -1:]
    return tf.reduce_sum(tf.cast(below, tf.int32), axis=1)


def cond_any(active: Any, compute: Callable[[], tf.Tensor], otherwise: tf.Tensor) -> tf.Tensor:
    """Computes a tensor if a condition holds anywhere.

    Args:
        active: Bool tensor; or an array, by which it is decided while the graph is traced.
        compute: Computes the result.
        otherwise: The result where the condition holds nowhere.
    """
    if isinstance(active, np.ndarray | np.bool_):
        return compute() if active.any() else otherwise
    return tf.cond(tf.reduce_any(active), compute, lambda: otherwise)


def probabilities(logits: tf.Tensor, sampling: SamplingTensors) -> tf.Tensor:
    """Returns the distribution that tokens are sampled from.

    Args:
        logits: Float32 tensor `(batch, vocab)`.
        sampling: Each row's settings. A temperature of 0 counts as 1.

    Returns:
        Float32 tensor `(batch, vocab)`; 0 for tokens that a filter drops.
    """
    temperature = tf.where(sampling.temperature > 0, sampling.temperature, 1.0)
    logits = logits / tf.expand_dims(temperature, 1)
    logits = _keep_most_likely(logits, sampling)
    logits = _where_any(sampling.min_p > 0, logits, lambda x: _min_p_floor(x, sampling.min_p))
    typical = sampling.typical_p < 1
    logits = _where_any(typical, logits, lambda x: _typical_floor(x, sampling.typical_p))
    return tf.nn.softmax(logits)


def _where_any(active: tf.Tensor, logits: tf.Tensor, exclude: Any) -> tf.Tensor:
    """Sets the logits that `exclude` selects in active rows to minus infinity, if any is active."""

    def filtered() -> tf.Tensor:
        excluded = tf.logical_and(exclude(logits), tf.expand_dims(active, 1))
        return tf.where(excluded, -float("inf"), logits)

    return cond_any(active, filtered, logits)


def _keep_most_likely(logits: tf.Tensor, sampling: SamplingTensors) -> tf.Tensor:
    """Keeps the tokens that `top_k` and `top_p` keep."""
    vocab_size = tf.shape(logits)[1]
    top_k = tf.where(sampling.top_k > 0, tf.minimum(sampling.top_k, vocab_size), vocab_size)
    narrowed = (sampling.top_k > 0) | (sampling.top_p < 1)

    def below_threshold(logits: tf.Tensor) -> tf.Tensor:
        return logits < tf.expand_dims(_threshold(logits, top_k, sampling.top_p), 1)

    return _where_any(narrowed, logits, below_threshold)


def _threshold(logits: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor) -> tf.Tensor:
    """Returns the smallest logit that is kept in each row, (batch,)."""
    # Sorts as many as the widest row needs: with top_k everywhere, a few and not all.
    ordered = tf.math.top_k(logits, tf.reduce_max(top_k)).values  # (batch, widest)
    ranks = tf.expand_dims(tf.range(tf.shape(ordered)[1]), 0)  # (1, widest)
    ordered = tf.where(ranks < tf.expand_dims(top_k, 1), ordered, -float("inf"))
    is_kept = _first_with_total(tf.nn.softmax(ordered), top_p)
    return tf.reduce_min(tf.where(is_kept, ordered, float("inf")), axis=1)


def _first_with_total(probs: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """Returns the mask of the first of each row that have the total: (batch, n), (batch,)."""
    # One is kept while those before it have less; the first always is.
    before = tf.cumsum(probs, axis=1, exclusive=True)
    return tf.logical_and(before < tf.expand_dims(total, 1), probs > 0)


def _min_p_floor(logits: tf.Tensor, min_p: tf.Tensor) -> tf.Tensor:
    """Returns the mask of tokens below `min_p` of the most likely token's probability."""
    # log 0 is minus infinity, below every logit.
    floor = tf.reduce_max(logits, axis=1) + tf.math.log(min_p)
    return logits < tf.expand_dims(floor, 1)


def _typical_floor(logits: tf.Tensor, typical_p: tf.Tensor) -> tf.Tensor:
    """Returns the mask of tokens whose surprisal is too far from the entropy."""
    log_probs = tf.nn.log_softmax(logits)
    probs = tf.exp(log_probs)
    surprisal = tf.where(probs > 0, -log_probs, 0.0)
    entropy = tf.reduce_sum(probs * surprisal, axis=1, keepdims=True)  # (batch, 1)
    distance = tf.where(probs > 0, tf.abs(surprisal - entropy), float("inf"))
    nearest = tf.argsort(distance, axis=1, stable=True)  # (batch, vocab)
    ordered = tf.gather(probs, nearest, batch_dims=1)
    is_kept = _first_with_total(ordered, typical_p)
    limit = tf.reduce_max(
        tf.where(is_kept, tf.gather(distance, nearest, batch_dims=1), -float("inf")), axis=1
    )
    return distance > tf.expand_dims(limit, 1)
