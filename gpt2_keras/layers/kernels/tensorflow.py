"""TensorFlow's kernels: training in fused passes, products and caches as its CPU does them best."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import ops

from gpt2_keras.layers.kernels import fused
from gpt2_keras.layers.kernels.portable import FusedAttention, Kernels
from gpt2_keras.layers.masks import MASKED_SCORE, causal_mask


class TensorFlowKernels(Kernels):
    """See `Kernels`."""

    def causal_attention(self, training: bool | None) -> FusedAttention | None:
        """Attention with a gradient of its own; see `fused.attend`."""
        return self._attend_in_training if training else None

    def _attend_in_training(self, qkv: Any, num_heads: int) -> Any:
        q, k, v = self.split_heads(qkv, num_heads)  # each (batch, heads, time, head_dim)
        time = ops.shape(q)[2]
        bias = ops.where(causal_mask(time, time), 0.0, MASKED_SCORE)
        return self.merge_heads(fused.attend(q / math.sqrt(q.shape[-1]), k, v, bias))

    def gelu(self, x: Any, training: bool | None) -> Any:
        """GELU, in training in one pass over memory."""
        return fused.gelu(x) if training else super().gelu(x, training)

    def layer_norm(self, training: bool | None) -> Callable[..., Any] | None:
        """In training the norm in one pass over memory."""
        return fused.layer_norm if training else None

    def multiply(self, rows: Any, kernel: Any, training: bool | None = None) -> Any:
        """The product, with the kernel first outside of training.

        TensorFlow's CPU product divides the work over the rows of its first factor. Decoding
        has few rows and large kernels: 1.1 to 1.6 times as fast from 1 to 32 rows, within 5 %
        from 128 on.
        """
        if training:
            return self.times_transposed(rows, kernel)
        return tf.transpose(tf.matmul(kernel, tf.transpose(rows)))

    def times_transposed(self, a: Any, b: Any) -> Any:
        """`a × bᵀ` without making `bᵀ`."""
        return tf.matmul(a, b, transpose_b=True)

    def write_rows(self, rows: Any, new: Any, slots: Any, overwrite: bool) -> Any:
        """Scattered rows, in place if they may be overwritten."""
        if not overwrite:
            return super().write_rows(rows, new, slots, overwrite)
        # Every scatter of TensorFlow's copies its whole input first, in a loop too.
        return tf.raw_ops.InplaceUpdate(x=rows, i=slots, v=new)

    def loop(self, count: Any, step: Callable[[Any, Any], Any], start: Any) -> Any:
        """A loop that computes one round at a time."""
        # By default the products of ten rounds are computed ahead, and kept.
        _, values = tf.while_loop(
            lambda index, _: index < count,
            lambda index, values: (index + 1, step(index, values)),
            (0, start),
            parallel_iterations=1,
        )
        return values

    def value_and_gradient(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
        """By a tape that does not watch the weights, whose gradients would be half of the work."""
        x = tf.convert_to_tensor(x)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            value = function(x)
        return value, tape.gradient(value, x)

    def uninitialized(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Whatever is in memory: memory that is not written to costs nothing."""
        return tf.raw_ops.Empty(shape=shape, dtype=dtype)
