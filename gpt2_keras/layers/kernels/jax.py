"""JAX' kernels; XLA fuses the rest by itself."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax import numpy as jnp
from keras import ops

from gpt2_keras.layers.kernels.portable import Attend, FusedAttention
from gpt2_keras.layers.kernels.xla import XlaKernels

# Rows of the loss at a time on an accelerator: of 1024, 4096, 8192 and all rows of a batch of 32
# the loss of GPT-2 124M took 21.9, 19.1, 18.5 and 18.2 ms on an H100; each 4096 rows of logits
# are 0.8 GB.
_LOSS_ROWS = 4096
# Tensor cores multiply tiles: 50257 columns, an odd number, took 1.6 times as long on an H100.
_TABLE_MULTIPLE = 128


class JaxKernels(XlaKernels):
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

    def barrier(self, x: Any) -> Any:
        """JAX' own."""
        return jax.lax.optimization_barrier(x)

    def multiply(self, rows: Any, kernel: Any, training: bool | None = None) -> Any:
        """On an accelerator the product as XLA fuses it."""
        if self.accelerated:
            return self.times_transposed(rows, kernel)
        return super().multiply(rows, kernel, training)

    def attend_to_cache(
        self, attend: Attend, qkv: Any, mask: Any, cache: Any, slots: Any, overwrite: bool
    ) -> tuple[Any, Any]:
        """On an accelerator the cache is written first."""
        in_parts = overwrite and not self.accelerated
        return super().attend_to_cache(attend, qkv, mask, cache, slots, in_parts)

    def remat(self, function: Callable[..., Any], keep_products: bool) -> Callable[..., Any]:
        """By JAX' policies; the products of attention, of two activations, are not kept."""
        if not keep_products:
            return super().remat(function, keep_products)
        policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
        again: Callable[..., Any] = jax.checkpoint(function, policy=policy)
        return again

    def value_and_gradient(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
        """By JAX' transformation."""
        value, pull_back = jax.vjp(function, jnp.asarray(x))
        return value, pull_back(jnp.ones_like(value))[0]

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
