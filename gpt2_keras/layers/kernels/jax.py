"""JAX' kernels; XLA fuses the rest by itself."""

from typing import Any

from keras import ops

from gpt2_keras.layers.kernels.portable import FusedAttention, Kernels


class JaxKernels(Kernels):
    """See `Kernels`."""

    def causal_attention(self, training: bool | None) -> FusedAttention | None:  # noqa: ARG002
        """JAX' own function, which on a GPU is cuDNN's flash attention."""
        return _flash_attention


def _flash_attention(qkv: Any, num_heads: int) -> Any:
    batch, time, width = ops.shape(qkv)
    qkv = ops.reshape(qkv, (batch, time, 3, num_heads, width // (3 * num_heads)))
    q, k, v = ops.unstack(qkv, 3, axis=2)  # each (batch, time, heads, head_dim)
    mixed = ops.dot_product_attention(q, k, v, is_causal=True)
    return ops.reshape(mixed, (batch, time, width // 3))
