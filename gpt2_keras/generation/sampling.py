"""The choice of the next token inside the graph."""

from typing import Any, NamedTuple

import tensorflow as tf

from gpt2_keras.generation.random import uniform


class SamplingTensors(NamedTuple):
    """The numbers of a `Sampler` for each row, and its seed, each `(batch,)`.

    Tensors and not Python numbers, so that changing them compiles nothing anew.
    """

    temperature: Any  # float32
    top_k: Any  # int32
    top_p: Any  # float32
    seed: Any  # int32


def choose(logits: tf.Tensor, sampling: SamplingTensors, step: Any) -> tf.Tensor:
    """Draws the next token of each row; see `samplers.Sampler`.

    Args:
        logits: Float32 tensor `(batch, vocab)`.
        sampling: Each row's settings.
        step: Int32 scalar: how many tokens were drawn before.

    Returns:
        Int32 tensor `(batch,)`.
    """
    likeliest = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.cond(
        tf.reduce_any(sampling.temperature > 0),
        lambda: tf.where(sampling.temperature > 0, _draw(logits, sampling, step), likeliest),
        lambda: likeliest,
    )


def _draw(logits: tf.Tensor, sampling: SamplingTensors, step: Any) -> tf.Tensor:
    """Draws by the inverse of the cumulative distribution; (batch, vocab) → (batch,)."""
    # Greedy rows of a mixed batch get a harmless 1 here; their draw is not used.
    temperature = tf.where(sampling.temperature > 0, sampling.temperature, 1.0)
    logits = logits / tf.expand_dims(temperature, 1)
    probabilities = tf.nn.softmax(_filter(logits, sampling))  # (batch, vocab)
    cumulative = tf.cumsum(probabilities, axis=1)
    # Times the total, which rounding leaves near but not at 1.
    threshold = tf.expand_dims(uniform(sampling.seed, step), 1) * cumulative[:, -1:]
    below = tf.cast(cumulative <= threshold, tf.int32)
    return tf.reduce_sum(below, axis=1)


def _filter(logits: tf.Tensor, sampling: SamplingTensors) -> tf.Tensor:
    """Sets the logits that `top_k` and `top_p` exclude to minus infinity."""
    vocab_size = tf.shape(logits)[1]
    top_k = tf.where(sampling.top_k > 0, tf.minimum(sampling.top_k, vocab_size), vocab_size)
    narrowed = tf.logical_or(top_k < vocab_size, sampling.top_p < 1)

    def narrow() -> tf.Tensor:
        threshold = _threshold(logits, top_k, sampling.top_p)  # (batch,)
        # A row that keeps all has nothing to compare with.
        keep = tf.logical_or(logits >= tf.expand_dims(threshold, 1), tf.expand_dims(~narrowed, 1))
        return tf.where(keep, logits, -float("inf"))

    return tf.cond(tf.reduce_any(narrowed), narrow, lambda: logits)


def _threshold(logits: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor) -> tf.Tensor:
    """Returns the smallest logit that stays in each row, (batch,)."""
    # Sorting as many as the widest row needs: with top_k everywhere, a few and not all.
    ordered = tf.math.top_k(logits, tf.reduce_max(top_k)).values  # (batch, widest)
    ranks = tf.expand_dims(tf.range(tf.shape(ordered)[1]), 0)  # (1, widest)
    ordered = tf.where(ranks < tf.expand_dims(top_k, 1), ordered, -float("inf"))
    shares = tf.nn.softmax(ordered)
    # A token stays while those before it have less than top_p; the first always does.
    before = tf.cumsum(shares, axis=1, exclusive=True)
    stays = tf.logical_and(before < tf.expand_dims(top_p, 1), shares > 0)
    return tf.reduce_min(tf.where(stays, ordered, float("inf")), axis=1)
