"""The choice of the next token inside the graph."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from gpt2_keras.generation.stateless_random import uniform

DEFAULT_TOP_K = 40  # the samples published with openai/gpt-2, README.md
DEFAULT_MIN_P = 0.05  # "Turning Up the Heat: Min-p Sampling" (Nguyen et al., 2024)
DEFAULT_TYPICAL_P = 0.95  # "Locally Typical Sampling" (Meister et al., 2022), section 5
DEFAULT_TOP_P = 0.9  # "The Curious Case of Neural Text Degeneration" (Holtzman et al., 2019)


@dataclasses.dataclass(frozen=True)
class Sampler:
    """How the next token is drawn from the logits.

    Penalties first: tokens that the text has already become less likely. Then the
    logits are divided by the temperature; of the tokens, only those that each
    filter in the order below keeps stay in; one is drawn from them, by its
    probability. The numbers mean what they mean in transformers' generation
    config (presence and frequency penalty: in OpenAI's API).

    Args:
        temperature: At least 0; below 1 sharpens, above 1 flattens. 0 takes the
            likeliest token.
        top_k: Number of likeliest tokens that stay; 0 keeps all.
        top_p: The likeliest tokens stay that together have at least this share,
            in (0, 1]; 1 keeps all. "Nucleus sampling" (Holtzman et al., 2019).
        min_p: Tokens stay that have at least this share of the likeliest one's
            probability, in [0, 1]; 0 keeps all.
        typical_p: The tokens stay whose surprise is nearest to the expected one
            and that together have at least this share, in (0, 1]; 1 keeps all.
            "Locally Typical Sampling" (Meister et al., 2022).
        repetition_penalty: Above 0. Positive logits of tokens that prompt or text
            have are divided by it, negative ones multiplied; 1 is none. "CTRL"
            (Keskar et al., 2019).
        presence_penalty: Subtracted from the logits of tokens that the new text
            has.
        frequency_penalty: Subtracted from a token's logit once for each time the
            new text has it.
        no_repeat_ngram_size: No sequence of so many tokens comes twice, the
            prompt counted; 0 allows all.

    Raises:
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
        for name, (holds, rule, neutral) in _RULES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and holds(value)):
                raise ValueError(
                    f"`{name}` must be {rule}. Received: {name}={value}. {neutral} has no effect."
                )

    def __repr__(self) -> str:
        changed = [
            f"{field.name}={getattr(self, field.name)}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Sampler({', '.join(changed)})"


# For each field: whether a value is in range, the range in words, and the value without effect.
_RULES: dict[str, tuple[Callable[[float], bool], str, float]] = {
    "temperature": (lambda t: t >= 0, "a finite number of at least 0", 1.0),
    "top_k": (lambda k: k >= 0 and k == int(k), "an integer of at least 0", 0),
    "top_p": (lambda p: 0 < p <= 1, "above 0 and at most 1", 1.0),
    "min_p": (lambda p: 0 <= p <= 1, "at least 0 and at most 1", 0.0),
    "typical_p": (lambda p: 0 < p <= 1, "above 0 and at most 1", 1.0),
    "repetition_penalty": (lambda r: r > 0, "a finite number above 0", 1.0),
    "presence_penalty": (lambda _: True, "a finite number", 0.0),
    "frequency_penalty": (lambda _: True, "a finite number", 0.0),
    "no_repeat_ngram_size": (lambda n: n >= 0 and n == int(n), "an integer of at least 0", 0),
}


# The strings that KerasHub takes for its samplers, and those of the two it has not.
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
        sampler: A `Sampler`, the name of one, or None: greedy if no number that
            asks for a draw is given, else a draw by these numbers.
        **numbers: Fields of `Sampler` that replace the sampler's, if not None.

    Raises:
        TypeError: If a number is no field of `Sampler`.
        ValueError: If the name is unknown or a number out of its range.

    Example:
        >>> resolve("top_k", temperature=0.7)
        Sampler(temperature=0.7, top_k=40)
        >>> resolve(None)
        Sampler(temperature=0.0)
    """
    changes = {name: value for name, value in numbers.items() if value is not None}
    if sampler is None:
        sampler = NAMED["random" if _DRAWS & set(changes) else "greedy"]
    if isinstance(sampler, str):
        if sampler not in NAMED:
            raise ValueError(
                f"`sampler` must be one of {', '.join(NAMED)}, or a Sampler. "
                f"Received: sampler={sampler!r}."
            )
        sampler = NAMED[sampler]
    return dataclasses.replace(sampler, **changes)  # type: ignore[arg-type]


# The fields that only a draw gives a meaning; penalties change the greedy choice as well.
_DRAWS = {"temperature", "top_k", "top_p", "min_p", "typical_p"}


class SamplingTensors(NamedTuple):
    """The numbers of a `Sampler` for each row, and its seed, each `(batch,)`.

    Tensors and not Python numbers, so that changing them compiles nothing anew.
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
    """Returns the numbers of rows that take the likeliest token, one for all rows.

    As arrays: of what is known to have no effect nothing goes into a graph.
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
    """Draws the next token of each row; see `samplers.Sampler`.

    Args:
        logits: Float32 tensor `(batch, vocab)`, penalties applied.
        sampling: Each row's settings.
        step: Int32 scalar: how many tokens were drawn before.

    Returns:
        Int32 tensor `(batch,)`.
    """
    likeliest = tf.argmax(logits, axis=-1, output_type=tf.int32)
    draws = sampling.temperature > 0
    return cond_any(
        draws, lambda: tf.where(draws, _draw(logits, sampling, step), likeliest), likeliest
    )


def cond_any(active: Any, compute: Callable[[], tf.Tensor], otherwise: tf.Tensor) -> tf.Tensor:
    """Computes if a condition holds anywhere.

    Args:
        active: Bool tensor; or an array, which decides while the graph is made.
        compute: Computes the result.
        otherwise: The result where the condition holds nowhere.
    """
    if isinstance(active, np.ndarray | np.bool_):
        return compute() if active.any() else otherwise
    return tf.cond(tf.reduce_any(active), compute, lambda: otherwise)


def _draw(logits: tf.Tensor, sampling: SamplingTensors, step: Any) -> tf.Tensor:
    """Draws by the inverse of the cumulative distribution; (batch, vocab) → (batch,)."""
    cumulative = tf.cumsum(probabilities(logits, sampling), axis=1)  # (batch, vocab)
    # Times the total, which rounding leaves near but not at 1.
    threshold = tf.expand_dims(uniform(sampling.seed, step), 1) * cumulative[:, -1:]
    below = tf.cast(cumulative <= threshold, tf.int32)
    return tf.reduce_sum(below, axis=1)


def probabilities(logits: tf.Tensor, sampling: SamplingTensors) -> tf.Tensor:
    """Returns the distribution that a draw is from.

    Args:
        logits: Float32 tensor `(batch, vocab)`.
        sampling: Each row's settings. A temperature of 0 counts as 1.

    Returns:
        Float32 tensor `(batch, vocab)`; 0 for tokens that a filter excludes.
    """
    temperature = tf.where(sampling.temperature > 0, sampling.temperature, 1.0)
    logits = logits / tf.expand_dims(temperature, 1)
    logits = _keep_likeliest(logits, sampling)
    logits = _where_any(sampling.min_p > 0, logits, lambda x: _min_p_floor(x, sampling.min_p))
    typical = sampling.typical_p < 1
    logits = _where_any(typical, logits, lambda x: _typical_floor(x, sampling.typical_p))
    return tf.nn.softmax(logits)


def _where_any(active: tf.Tensor, logits: tf.Tensor, exclude: Any) -> tf.Tensor:
    """Sets the logits that `exclude` marks in active rows to minus infinity, if any is active."""

    def filtered() -> tf.Tensor:
        excluded = tf.logical_and(exclude(logits), tf.expand_dims(active, 1))
        return tf.where(excluded, -float("inf"), logits)

    return cond_any(active, filtered, logits)


def _keep_likeliest(logits: tf.Tensor, sampling: SamplingTensors) -> tf.Tensor:
    """Excludes what `top_k` and `top_p` exclude."""
    vocab_size = tf.shape(logits)[1]
    top_k = tf.where(sampling.top_k > 0, tf.minimum(sampling.top_k, vocab_size), vocab_size)
    narrowed = (sampling.top_k > 0) | (sampling.top_p < 1)

    def below_threshold(logits: tf.Tensor) -> tf.Tensor:
        return logits < tf.expand_dims(_threshold(logits, top_k, sampling.top_p), 1)

    return _where_any(narrowed, logits, below_threshold)


def _threshold(logits: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor) -> tf.Tensor:
    """Returns the smallest logit that stays in each row, (batch,)."""
    # Sorting as many as the widest row needs: with top_k everywhere, a few and not all.
    ordered = tf.math.top_k(logits, tf.reduce_max(top_k)).values  # (batch, widest)
    ranks = tf.expand_dims(tf.range(tf.shape(ordered)[1]), 0)  # (1, widest)
    ordered = tf.where(ranks < tf.expand_dims(top_k, 1), ordered, -float("inf"))
    stays = _first_with_share(tf.nn.softmax(ordered), top_p)
    return tf.reduce_min(tf.where(stays, ordered, float("inf")), axis=1)


def _first_with_share(shares: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """Marks the first of each row that together have the total: (batch, n), (batch,) → bool."""
    # One stays while those before it have less; the first always does.
    before = tf.cumsum(shares, axis=1, exclusive=True)
    return tf.logical_and(before < tf.expand_dims(total, 1), shares > 0)


def _min_p_floor(logits: tf.Tensor, min_p: tf.Tensor) -> tf.Tensor:
    """Marks tokens with less than `min_p` of the likeliest one's probability."""
    # log 0 is minus infinity, below every logit.
    floor = tf.reduce_max(logits, axis=1) + tf.math.log(min_p)
    return logits < tf.expand_dims(floor, 1)


def _typical_floor(logits: tf.Tensor, typical_p: tf.Tensor) -> tf.Tensor:
    """Marks tokens whose surprise is too far from the expected one."""
    log_probs = tf.nn.log_softmax(logits)
    shares = tf.exp(log_probs)
    surprise = tf.where(shares > 0, -log_probs, 0.0)
    entropy = tf.reduce_sum(shares * surprise, axis=1, keepdims=True)  # (batch, 1)
    distance = tf.where(shares > 0, tf.abs(surprise - entropy), float("inf"))
    nearest = tf.argsort(distance, axis=1, stable=True)  # (batch, vocab)
    ordered = tf.gather(shares, nearest, batch_dims=1)
    stays = _first_with_share(ordered, typical_p)
    limit = tf.reduce_max(
        tf.where(stays, tf.gather(distance, nearest, batch_dims=1), -float("inf")), axis=1
    )
    return distance > tf.expand_dims(limit, 1)
