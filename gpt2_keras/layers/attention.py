"""Masked multi-head self-attention, with or without a cache: the formula."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from gpt2_keras.layers.activations import is_observed, observe
from gpt2_keras.layers.initializers import kernel_initializer, residual_initializer
from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.layers.masks import MASKED_SCORE, causal_mask
from gpt2_keras.layers.projection import Projection

_Z = "attn.hook_z"
# What attention in one operation does not give.
_INSIDE = [f"attn.hook_{name}" for name in ("q", "k", "v", "attn_scores", "pattern")]


def attend(q: Any, k: Any, v: Any, mask: Any, dropout: Callable[[Any], Any]) -> Any:
    """Returns `softmax(q kᵀ / √head_dim) v`, with masked scores far below all others.

    Args:
        q: Float tensor `(batch, heads, time, head_dim)`.
        k, v: Float tensors `(batch, heads, keys, head_dim)`.
        mask: Bool tensor that broadcasts to `(batch, heads, time, keys)`, True where a query
            may attend.
        dropout: Function applied to the attention weights.

    Returns:
        Float tensor `(batch, heads, time, head_dim)`. The softmax is computed in float32.

    Example:
        >>> q, v = np.zeros((1, 1, 2, 1), "float32"), np.array([1.0, 3.0], "float32")
        >>> v = v.reshape(1, 1, 2, 1)
        >>> np.array(attend(q, q, v, causal_mask(2, 2), lambda weights: weights)).ravel().tolist()
        [1.0, 2.0]
    """
    # Scaled before the product, which keeps float16 scores in range.
    scores = ops.matmul(q / math.sqrt(q.shape[-1]), ops.swapaxes(k, 2, 3))
    scores = ops.where(mask, ops.cast(scores, "float32"), MASKED_SCORE)  # (…, time, keys)
    scores = observe("attn.hook_attn_scores", scores)
    # A single key gets all the weight; `ops.softmax` over one element would warn.
    single = scores.shape[-1] == 1
    weights = ops.ones_like(scores) if single else ops.softmax(scores, axis=-1)
    weights = observe("attn.hook_pattern", weights)
    return ops.matmul(dropout(ops.cast(weights, q.dtype)), v)  # (batch, heads, time, head_dim)


@keras.saving.register_keras_serializable(package="gpt2_keras")
class CausalSelfAttention(keras.layers.Layer):
    """Mixes each position with itself and the positions before it.

    Every head computes `attend` on its own projection of the input. Source: `attn` in
    openai/gpt-2 `src/model.py`.

    Args:
        num_heads: Number of heads. Must divide the input width.
        dropout_rate: Fraction of attention weights, and of outputs, zeroed in training, in
            [0, 1).
        num_residual_layers: Number of additions to the residual stream in the whole model;
            scales the output projection's initial weights.

    Call arguments:
        x: Float tensor `(batch, time, width)`.
        attention_mask: Bool tensor that broadcasts to `(batch, heads, time, keys)`, True
            where a query may attend. By default `causal_mask` of a call without a cache.
        cache: The keys and values of a sequence's positions, two float tensors `(batch,
            heads, length, head_dim)`, or None.
        slots: Where in the cache the positions of `x` go; see `Kernels.cache_slots`.
        overwrite_cache: As for `Kernels.update_cache`.

    Returns:
        Float tensor `(batch, time, width)`; with a cache, a pair of that and the cache with
        the positions of `x` written to it.

    Raises:
        ValueError: On build, if `num_heads` does not divide the width.

    Example:
        >>> CausalSelfAttention(num_heads=2)(np.zeros((1, 6, 8), "float32")).shape
        TensorShape([1, 6, 8])
    """

    def __init__(
        self,
        num_heads: int,
        dropout_rate: float = 0.0,
        num_residual_layers: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate
        self.num_residual_layers = num_residual_layers

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the projections for inputs of the given shape."""
        width = input_shape[-1]
        assert width is not None  # noqa: S101 -- tells the type checker
        if width % self.num_heads:
            raise ValueError(
                f"num_heads={self.num_heads} does not divide the width {width}. "
                f"Use, for example, num_heads={math.gcd(width, self.num_heads)}."
            )
        self.qkv = Projection(
            3 * width, kernel_initializer=kernel_initializer(), dtype=self.dtype_policy, name="qkv"
        )
        self.qkv.build(input_shape)
        self.output_projection = Projection(
            width,
            kernel_initializer=residual_initializer(self.num_residual_layers),
            dtype=self.dtype_policy,
            name="output_projection",
        )
        self.output_projection.build(input_shape)
        self.attention_dropout = keras.layers.Dropout(self.dropout_rate, dtype=self.dtype_policy)
        self.output_dropout = keras.layers.Dropout(self.dropout_rate, dtype=self.dtype_policy)
        self.built = True

    def call(
        self,
        x: Any,
        attention_mask: Any = None,
        cache: Any = None,
        slots: Any = None,
        overwrite_cache: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Attends; see the class."""
        kernels, qkv = current_kernels(), self.qkv(x)  # (batch, time, 3 × width)
        drops = bool(training and self.dropout_rate)
        observed = is_observed(_INSIDE)
        if attention_mask is None and cache is None and not drops and not observed:
            fused = kernels.causal_attention(training)
            if fused is not None:
                return self._project(fused(qkv, self.num_heads))
        q, k, v = kernels.split_heads(qkv, self.num_heads)  # (batch, heads, time, head_dim)
        q, k, v = (
            observe(f"attn.hook_{name}", part, _swap_heads_and_time)
            for name, part in (("q", q), ("k", k), ("v", v))
        )
        formula = functools.partial(
            attend if observed else kernels.attend or attend,
            dropout=lambda w: self.attention_dropout(w, training=training),
        )
        if attention_mask is None:
            keys = k if cache is None else cache[0]
            attention_mask = causal_mask(ops.shape(q)[2], ops.shape(keys)[2])
        if cache is None:
            mixed = formula(q, k, v, attention_mask)  # (batch, heads, time, head_dim)
        else:
            mixed, cache = kernels.attend_to_cache(
                formula,
                (q, k, v),
                attention_mask,
                cache,
                slots,
                overwrite=overwrite_cache and not drops and not observed,
            )
        x = self._project(kernels.merge_heads(mixed))  # (batch, time, width)
        x = self.output_dropout(x, training=training)
        return x if cache is None else (x, cache)

    def _project(self, mixed: Any) -> Any:
        """Returns the output of what the heads have mixed; both (batch, time, width)."""
        if is_observed((_Z,)):
            merged = ops.shape(mixed)
            split = (*merged[:2], self.num_heads, merged[2] // self.num_heads)
            z = ops.reshape(mixed, split)  # (batch, time, heads, head_dim)
            if (changed := observe(_Z, z)) is not z:
                mixed = ops.reshape(changed, merged)
        return self.output_projection(mixed)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], **_: Any
    ) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "dropout_rate": self.dropout_rate,
            "num_residual_layers": self.num_residual_layers,
        }


def _swap_heads_and_time(x: Any) -> Any:
    """(batch, heads, time, head_dim) ↔ (batch, time, heads, head_dim)."""
    return ops.swapaxes(x, 1, 2)
