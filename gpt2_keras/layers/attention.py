"""Masked multi-head self-attention, with or without a cache."""

import math
from typing import Any

import keras
from keras import ops

from gpt2_keras.layers import fused
from gpt2_keras.layers.cache import BlockCache, write_cache
from gpt2_keras.layers.initializers import kernel_initializer, residual_initializer
from gpt2_keras.layers.litert import is_for_litert
from gpt2_keras.layers.projection import Projection, open_sizes

# Far below any score and finite in float32, so that a row with nothing to look
# at (padding) becomes uniform and not NaN. openai/gpt-2 src/model.py, mask_attn_weights().
MASKED_SCORE = -1e10


def causal_mask(time: Any, length: Any, first: Any = 0, padding_mask: Any = None) -> Any:
    """Returns which keys each query may look at: those not after it.

    Args:
        time: Number of queries.
        length: Number of keys.
        first: Position of the first query among the keys.
        padding_mask: Bool tensor `(batch, length)`, False for keys that are
            padding; None when there is none.

    Returns:
        Bool tensor `(batch or 1, 1, time, length)`, True where a query may look.

    Example:
        >>> print(np.array(causal_mask(2, 3, first=1))[0, 0].astype(int))
        [[1 1 0]
         [1 1 1]]
    """
    queries = ops.expand_dims(ops.arange(time, dtype="int32") + first, 1)  # (time, 1)
    keys = ops.expand_dims(ops.arange(length, dtype="int32"), 0)  # (1, length)
    mask = ops.expand_dims(ops.expand_dims(keys <= queries, 0), 0)  # (1, 1, time, length)
    if padding_mask is None:
        return mask
    padding_mask = ops.cast(padding_mask, "bool")
    real_keys = ops.expand_dims(ops.expand_dims(padding_mask, 1), 1)  # (batch, 1, 1, length)
    return ops.logical_and(mask, real_keys)


def _masked(scores: Any, mask: Any) -> Any:
    """Returns float32 scores where the mask is True, and `MASKED_SCORE` elsewhere."""
    if is_for_litert():
        # XNNPACK adds, and does not choose. A float32 of that size has no digits for the score.
        return scores + ops.where(mask, 0.0, MASKED_SCORE)
    return ops.where(mask, scores, MASKED_SCORE)


def _scores(queries: Any, keys: Any) -> Any:
    """(batch, heads, time, head_dim), (batch, heads, length, head_dim) → (…, time, length)."""
    if is_for_litert() and queries.shape[2] == 1:
        # XNNPACK copies the second factor of a product into a form of its own first.
        return ops.expand_dims(ops.sum(queries * keys, axis=-1), 2)
    return ops.matmul(queries, ops.swapaxes(keys, 2, 3))


def _mixed(weights: Any, values: Any) -> Any:
    """(batch, heads, time, length), (batch, heads, length, head_dim) → (…, time, head_dim)."""
    if is_for_litert() and weights.shape[2] == 1:
        return ops.sum(ops.swapaxes(weights, 2, 3) * values, axis=2, keepdims=True)
    return ops.matmul(weights, values)


@keras.saving.register_keras_serializable(package="gpt2_keras")
class CausalSelfAttention(keras.layers.Layer):
    """Mixes each position with itself and the positions before it.

    Every head computes `softmax(q kᵀ / √head_dim) v`, with the scores of later
    positions masked out. Source: `attn` in openai/gpt-2 `src/model.py`.

    Args:
        num_heads: Number of heads. Must divide the input width.
        dropout_rate: Share of attention weights, and of outputs, zeroed in
            training, in [0, 1).
        num_residual_layers: Number of additions to the residual stream in the
            whole model; scales the output projection's initial weights.

    Call arguments:
        x: Float tensor `(batch, time, width)`.
        attention_mask: Bool tensor that broadcasts to `(batch, heads, time,
            keys)`, True where a query may look. By default `causal_mask`
            of a call without a cache.
        cache: Pair of float tensors `(batch, heads, length, head_dim)`, the
            keys and values of a sequence's positions, or None.
        slots: Where in the cache the positions of `x` go; see `cache_slots`.
        overwrite_cache: As for `write_cache`.

    Returns:
        Float tensor `(batch, time, width)`; with a cache, a pair of that and the
        cache with the positions of `x` written to it.

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
        """Makes the projections for inputs of the given shape."""
        width = input_shape[-1]
        assert width is not None  # noqa: S101 -- tells the type checker
        if width % self.num_heads:
            raise ValueError(
                "`num_heads` must divide the width. "
                f"Received: num_heads={self.num_heads}, width={width}. "
                f"Use, for example, num_heads={math.gcd(width, self.num_heads)}."
            )
        self.head_dim = width // self.num_heads
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
        plain = attention_mask is None and cache is None and not (training and self.dropout_rate)
        if plain and keras.backend.backend() == "jax":
            return self._attend_in_one(x)
        q, k, v = self._split_heads(self.qkv(x))  # each (batch, heads, time, head_dim)
        if plain and fused.is_fusing(training):
            time = ops.shape(x)[1]
            look = ops.where(causal_mask(time, time), 0.0, MASKED_SCORE)
            mixed = fused.attend(q / math.sqrt(self.head_dim), k, v, look)
            return self.output_projection(self._merge_heads(mixed))
        if cache is not None:
            k = write_cache(cache[-2], k, slots, overwrite=overwrite_cache)
            v = write_cache(cache[-1], v, slots, overwrite=overwrite_cache)
        past = isinstance(cache, BlockCache)
        keys, values = ([cache[0], k], [cache[1], v]) if past else ([k], [v])
        if attention_mask is None:
            attention_mask = causal_mask(ops.shape(x)[1], ops.shape(k)[2])
        # Scaled before the product, which keeps float16 scores in range.
        q = q / math.sqrt(self.head_dim)
        scores = [_scores(q, part) for part in keys]
        scores = ops.concatenate(scores, axis=-1) if past else scores[0]  # (…, time, keys)
        scores = _masked(ops.cast(scores, "float32"), attention_mask)
        # A single key has all the weight; `ops.softmax` would warn of it as of a mistake.
        single = scores.shape[-1] == 1
        weights = ops.ones_like(scores) if single else ops.softmax(scores, axis=-1)
        weights = ops.cast(weights, self.compute_dtype)
        weights = self.attention_dropout(weights, training=training)
        length = keys[0].shape[2]
        parts = [weights[..., :length], weights[..., length:]] if past else [weights]
        mixed = sum(map(_mixed, parts, values))  # (batch, heads, time, head_dim)
        x = self.output_projection(self._merge_heads(mixed))  # (batch, time, width)
        x = self.output_dropout(x, training=training)
        if cache is None:
            return x
        return x, cache._replace(keys=k, values=v) if past else (k, v)

    def _attend_in_one(self, x: Any) -> Any:
        """Attends by JAX's own function, which on a GPU is cuDNN's flash attention."""
        batch, time, width = ops.shape(x)
        qkv = ops.reshape(self.qkv(x), (batch, time, 3, self.num_heads, self.head_dim))
        q, k, v = ops.unstack(qkv, 3, axis=2)  # each (batch, time, heads, head_dim)
        mixed = ops.dot_product_attention(q, k, v, is_causal=True)
        return self.output_projection(ops.reshape(mixed, (batch, time, width)))

    def _split_heads(self, x: Any) -> Any:
        """(batch, time, 3 × width) → three of (batch, heads, time, head_dim)."""
        batch, time, _ = ops.shape(x)
        if is_for_litert():
            # XNNPACK splits, and does not unstack; one position needs no transposing.
            shape = (batch, time, self.num_heads, self.head_dim)
            heads = [ops.reshape(part, shape) for part in ops.split(x, 3, axis=-1)]
            return [ops.transpose(part, (0, 2, 1, 3)) for part in heads]
        x = ops.reshape(x, (*open_sizes(batch, time), 3, self.num_heads, self.head_dim))
        return ops.unstack(ops.transpose(x, (2, 0, 3, 1, 4)), 3)

    def _merge_heads(self, x: Any) -> Any:
        """(batch, heads, time, head_dim) → (batch, time, width)."""
        batch, _, time, _ = ops.shape(x)
        x = ops.transpose(x, (0, 2, 1, 3))
        return ops.reshape(x, (*open_sizes(batch, time), self.num_heads * self.head_dim))

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
