"""JAX' kernels; XLA fuses the rest by itself."""

import functools
from typing import Any

import jax
from jax import numpy as jnp
from keras import ops

from gpt2_keras.layers.kernels.portable import FusedAttention, Kernels

# Rows of the loss at a time on an accelerator: of 1024, 4096, 8192 and all rows of a batch of 32
# the loss of GPT-2 124M took 21.9, 19.1, 18.5 and 18.2 ms on an H100; each 4096 rows of logits
# are 0.8 GB.
_LOSS_ROWS = 4096
# Tensor cores multiply tiles: 50257 columns, an odd number, took 1.6 times as long on an H100.
_TABLE_MULTIPLE = 128


class JaxKernels(Kernels):
    """See `Kernels`."""

    @functools.cached_property
    def accelerated(self) -> bool:
        """Whether JAX computes on a GPU or a TPU."""
        return jax.default_backend() != "cpu"

    def table_multiple(self) -> int:
        """On an accelerator the size of a tile."""
        return _TABLE_MULTIPLE if self.accelerated else super().table_multiple()

    def loss_rows(self, vocab_size: int) -> int:
        """On an accelerator many: each chunk reads and writes the gradient of the table."""
        return _LOSS_ROWS if self.accelerated else super().loss_rows(vocab_size)

    def causal_attention(self, training: bool | None) -> FusedAttention | None:  # noqa: ARG002
        """JAX' own function, which on a GPU is cuDNN's flash attention."""
        return _flash_attention

    def multiply(self, rows: Any, kernel: Any, training: bool | None = None) -> Any:
        """On a CPU a single row is multiplied twice.

        XLA computes a product of one row by a loop of its own, which inside another loop has one
        thread; that of two rows goes to Eigen, with all. GPT-2 124M on 2 cores of an AMD EPYC:
        41 tokens/s instead of 23.
        """
        if training or self.accelerated or rows.shape[0] != 1:
            return super().multiply(rows, kernel, training)
        return super().multiply(jnp.concatenate([rows, rows]), kernel, training)[:1]

    def cache_slots(self, cache: Any, time: Any, index: Any) -> Any:  # noqa: ARG002
        """The position of the first: new positions lie side by side."""
        return index

    def write(self, cache: Any, new: Any, slots: Any, overwrite: bool = False) -> Any:  # noqa: ARG002
        """One copy to a slice, in place inside a compiled loop; a scatter copies row by row."""
        return jax.lax.dynamic_update_slice_in_dim(cache, new.astype(cache.dtype), slots, axis=2)

    def times_wide(self, a: Any, b: Any) -> Any:
        """The sums of the product as they are, which are float32."""
        return jnp.matmul(a, b, preferred_element_type="float32")

    def times_transposed_wide(self, a: Any, b: Any) -> Any:
        """The sums of the product as they are, which are float32."""
        return jnp.matmul(a, b.T, preferred_element_type="float32")

    def cross_entropy(self, logits: Any, targets: Any, vocab_size: int) -> tuple[Any, Any]:
        """On an accelerator by comparing columns, which XLA fuses; a scatter runs by itself."""
        if not self.accelerated:
            return super().cross_entropy(logits, targets, vocab_size)
        columns = jnp.arange(logits.shape[1], dtype="int32")[None]
        if logits.shape[1] > vocab_size:
            logits = jnp.where(columns < vocab_size, logits, -jnp.inf)
        is_target = columns == targets[:, None]
        log_sums = jax.nn.logsumexp(logits, axis=1)
        target_logits = jnp.sum(jnp.where(is_target, logits, 0.0), axis=1)
        probs = jnp.exp(logits - log_sums[:, None])
        return log_sums - target_logits, probs - is_target


def _flash_attention(qkv: Any, num_heads: int) -> Any:
    batch, time, width = ops.shape(qkv)
    qkv = ops.reshape(qkv, (batch, time, 3, num_heads, width // (3 * num_heads)))
    q, k, v = ops.unstack(qkv, 3, axis=2)  # each (batch, time, heads, head_dim)
    mixed = ops.dot_product_attention(q, k, v, is_causal=True)
    return ops.reshape(mixed, (batch, time, width // 3))
