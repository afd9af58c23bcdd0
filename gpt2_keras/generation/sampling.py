"""Samplers as values, and the choice of the next token inside the graph."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from gpt2_keras.generation.stateless_random import uniform
from gpt2_keras.validation import check_choice, check_integer, check_number, check_probability

DEFAULT_TOP_K = 40  # the samples published with openai/gpt-2, README.md
DEFAULT_MIN_P = 0.05  # "Turning Up the Heat: Min-p Sampling" (Nguyen et al., 2024)
DEFAULT_TYPICAL_P = 0.95  # "Locally Typical Sampling" (Meister et al., 2022), section 5
DEFAULT_TOP_P = 0.9  # "The Curious Case of Neural Text Degeneration" (Holtzman et al., 2019)


@dataclasses.dataclass(frozen=True)
class Sampler:
    """The settings by which the next token is sampled from the logits.

    Penalties come first: tokens that the text has already become less likely. Then the
    logits are divided by the temperature, and each filter in the order below keeps some
    tokens; one of those is sampled by its probability. The numbers mean what they mean in
    transformers' generation config (presence and frequency penalty: in OpenAI's API).

    Args:
        temperature: At least 0; below 1 sharpens, above 1 flattens. 0 takes the
            most likely token.
        top_k: Number of most likely tokens that are kept; 0 keeps all.
        top_p: The fewest most likely tokens are kept whose probabilities add up to at least
            this, in (0, 1]; 1 keeps all. "Nucleus sampling" (Holtzman et al., 2019).
        min_p: Tokens are kept that have at least this fraction of the most likely token's
            probability, in [0, 1]; 0 keeps all.
        typical_p: The tokens are kept whose surprisal is nearest to the entropy and whose
            probabilities add up to at least this, in (0, 1]; 1 keeps all. "Locally Typical
            Sampling" (Meister et al., 2022).
        repetition_penalty: Above 0. Positive logits of tokens of the prompt or the text are
            divided by it, negative ones multiplied; 1 is none. "CTRL" (Keskar et al., 2019).
        presence_penalty: Subtracted from the logits of tokens of the new text.
        frequency_penalty: Subtracted from a token's logit once for each time that it is in
            the new text.
        no_repeat_ngram_size: Number of tokens in the n-grams that must not be repeated, the
            prompt included; 0 allows all.

    Raises:
        TypeError: If a number is of the wrong type.
        ValueError: If a number is out of its range.

    Example:
        >>> Sampler(temperature=0.8, top_k=40)
        Sampler(temperature=0.8, top_k=40)
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        for name, (check, neutral) in _CHECKS.items():
            check(name, getattr(self, name), advice=f"{neutral} has no effect.")

    def __repr__(self) -> str:
        changed = [
            f"{field.name}={getattr(self, field.name)}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Sampler({', '.join(changed)})"


# For each field: its check, and the value without effect.
_CHECKS: dict[str, tuple[Callable[..., Any], float]] = {
    "temperature": (partial(check_number, minimum=0), 1.0),
    "top_k": (partial(check_integer, minimum=0), 0),
    "top_p": (partial(check_number, above=0, maximum=1), 1.0),
    "min_p": (check_probability, 0.0),
    "typical_p": (partial(check_number, above=0, maximum=1), 1.0),
    "repetition_penalty": (partial(check_number, above=0), 1.0),
    "presence_penalty": (check_number, 0.0),
    "frequency_penalty": (check_number, 0.0),
    "no_repeat_ngram_size": (partial(check_integer, minimum=0), 0),
}


# KerasHub's names of its samplers, and of the two that it does not have.
NAMED = {
    "greedy": Sampler(temperature=0.0),
    "random": Sampler(),
    "top_k": Sampler(top_k=DEFAULT_TOP_K),
    "top_p": Sampler(top_p=DEFAULT_TOP_P),
    "min_p": Sampler(min_p=DEFAULT_MIN_P),
    "typical": Sampler(typical_p=DEFAULT_TYPICAL_P),
}


def resolve(sampler: Sampler | str | None, **numbers: float | None) -> Sampler:
    """Returns the sampler that a caller's arguments mean.

    Args:
        sampler: A `Sampler`, the name of one, or None: greedy, unless a number is given that
            is for sampling.
        **numbers: Fields of `Sampler` that replace the sampler's, if not None.

    Raises:
        TypeError: If the sampler is of another type.
        ValueError: If the name is unknown or a number out of its range.

    Example:
        >>> resolve("top_k", temperature=0.7)
        Sampler(temperature=0.7, top_k=40)
        >>> resolve(None)
        Sampler(temperature=0.0)
    """
    changes = {name: value for name, value in numbers.items() if value is not None}
    if sampler is None:
        sampler = NAMED["random" if _FOR_SAMPLING & set(changes) else "greedy"]
    if not isinstance(sampler, Sampler):
        sampler = NAMED[check_choice("sampler", sampler, NAMED, advice="Or give a Sampler.")]
    return dataclasses.replace(sampler, **changes)  # type: ignore[arg-type]


# The fields without effect on the greedy choice, which penalties change as well.
_FOR_SAMPLING = {"temperature", "top_k", "top_p", "min_p", "typical_p"}


class SamplingTensors(NamedTuple):
    """The numbers of a `Sampler` for each row, and its seed, each `(batch,)`.

    Tensors and not Python numbers, so that no function is traced again for others.
    """

    temperature: Any  # float32
    top_k: Any  # int32
    top_p: Any  # float32
    min_p: Any  # float32
    typical_p: Any  # float32
    repetition_penalty: Any  # float32
    presence_penalty: Any  # float32
    frequency_penalty: Any  # float32
    no_repeat_ngram_size: Any  # int32
    seed: Any  # int32


INT_FIELDS = {"top_k", "no_repeat_ngram_size", "seed"}


def sampling_tensors(sampler: Sampler, seeds: np.ndarray) -> SamplingTensors:
    """Returns a sampler's numbers for each row.

    Args:
        sampler: The sampler.
        seeds: Int32 array `(batch,)`.
    """
    numbers = {
        name: np.full(len(seeds), getattr(sampler, name), _dtype(name))
        for name in SamplingTensors._fields
        if name != "seed"
    }
    return SamplingTensors(**numbers, seed=seeds)


def greedy_numbers() -> SamplingTensors:
    """Returns the numbers of greedy rows, one for all rows.

    As arrays: what is known to have no effect adds nothing to a graph.
    """
    return sampling_tensors(Sampler(temperature=0.0), np.zeros(1, "int32"))


def sampling_specs() -> SamplingTensors:
    """Returns the signature of these tensors in a graph."""
    return SamplingTensors(
        **{name: tf.TensorSpec([None], _dtype(name), name) for name in SamplingTensors._fields}
    )


def _dtype(name: str) -> str:
    return "int32" if name in INT_FIELDS else "float32"


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
