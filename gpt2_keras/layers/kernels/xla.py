"""XLA's kernels on a CPU, for JAX and for TensorFlow's graphs that XLA compiles whole."""

import abc
import math
from typing import Any

from keras import ops

from gpt2_keras.layers.kernels.portable import Attend, Kernels
from gpt2_keras.layers.masks import MASKED_SCORE


class XlaKernels(Kernels, abc.ABC):
    """See `Kernels`."""

    @abc.abstractmethod
    def barrier(self, x: Any) -> Any:
        """Returns a tensor that XLA does not fuse with what reads it."""

    def multiply(self, rows: Any, kernel: Any, training: bool | None = None) -> Any:
        """The product, that of a single row for itself.

        XLA fuses the product of a single row with the sum of its bias, and computes it by one
        thread. A token of GPT-2 124M in TensorFlow's loop under XLA, 2 cores of an AMD EPYC:
        12 ms instead of 15.
        """
        product = self.times_transposed(rows, kernel)
        return product if training or rows.shape[0] != 1 else self.barrier(product)

    def cache_slots(self, cache: Any, time: Any, index: Any) -> Any:  # noqa: ARG002
        """The position of the first: new positions lie side by side."""
        return index

    def write(self, cache: Any, new: Any, slots: Any, overwrite: bool = False) -> Any:  # noqa: ARG002
        """One copy to a slice, in place inside a compiled loop; a scatter copies row by row."""
        return ops.slice_update(cache, (0, 0, slots, 0), ops.cast(new, cache.dtype))

    def attend_to_cache(
        self, attend: Attend, qkv: Any, mask: Any, cache: Any, slots: Any, overwrite: bool
    ) -> tuple[Any, Any]:
        """For one position the cache as it was and the position itself, then the write.

        What attends to a cache that was just written makes XLA copy all of it: 17 ms a token
        instead of 14 at 512 positions.
        """
        q, k, v = qkv
        if q.shape[2] != 1 or not overwrite:
            return super().attend_to_cache(attend, qkv, mask, cache, slots, overwrite)
        before = ops.arange(ops.shape(mask)[3], dtype="int32") < slots
        mixed = _attend_to_both(q, (cache[0], k), (cache[1], v), mask & before)
        # Always true, which XLA does not know: so it reads the cache before it writes to it.
        is_read = ops.cast(mixed[0, 0, 0, 0], "float32") > -math.inf
        slots = ops.where(is_read, slots, 0)
        return mixed, (self.write(cache[0], k, slots), self.write(cache[1], v, slots))


def _attend_to_both(q: Any, keys: Any, values: Any, mask: Any) -> Any:
    """The formula of `layers.attention.attend` of one query, for a cache and one position more.

    Args:
        q: Float tensor `(batch, heads, 1, head_dim)`.
        keys, values: Pairs of float tensors, `(batch, heads, length, head_dim)` and `(batch,
            heads, 1, head_dim)`.
        mask: Bool tensor `(batch or 1, 1, 1, length)`.

    Returns:
        Float tensor `(batch, heads, 1, head_dim)`.
    """
    q = q / math.sqrt(q.shape[-1])
    cached, own = (ops.cast(ops.einsum("bhqd,bhkd->bhqk", q, part), "float32") for part in keys)
    cached = ops.where(mask, cached, MASKED_SCORE)  # (batch, heads, 1, length)
    largest = ops.maximum(ops.max(cached, axis=-1, keepdims=True), own)
    weights = [ops.exp(scores - largest) for scores in (cached, own)]
    total = ops.sum(weights[0], axis=-1, keepdims=True) + weights[1]
    weights = [ops.cast(each / total, q.dtype) for each in weights]
    return ops.matmul(weights[0], values[0]) + weights[1] * values[1]
