"""LiteRT's kernels: the same numbers by the ops that XNNPACK runs best, and a cache of its own."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from gpt2_keras.layers.kernels.portable import open_sizes
from gpt2_keras.layers.kernels.tensorflow import TensorFlowKernels
from gpt2_keras.layers.masks import MASKED_SCORE, causal_mask


class BlockCache(NamedTuple):
    """A layer's cache in two parts, of which only the small one is written to.

    LiteRT copies a tensor that a step changes, once for the change and once more to carry it
    from round to round of a loop; what a loop only reads is not copied. So new positions go to
    a block of a few, which whoever holds the cache writes to the past when it is full. Rows
    have no padding.
    """

    past_keys: Any  # float (batch, heads, length, head_dim)
    past_values: Any
    keys: Any  # float (batch, heads, block_length, head_dim): the block that is being filled
    values: Any


class LiteRTKernels(TensorFlowKernels):
    """See `Kernels`. A layer's cache is a pair of keys and values, or a `BlockCache`."""

    def attend(self, q: Any, k: Any, v: Any, mask: Any, dropout: Callable[[Any], Any]) -> Any:
        """The formula of `layers.attention.attend`, of keys and values in one part or several.

        Args:
            q: Float tensor `(batch, heads, time, head_dim)`.
            k, v: The same of `(batch, heads, length, head_dim)`, or lists of them.
            mask: Bool tensor `(batch or 1, 1, time, length of all parts)`.
            dropout: What is done to the weights.
        """
        keys, values = (part if isinstance(part, list) else [part] for part in (k, v))
        q = q / math.sqrt(q.shape[-1])
        scores = [_scores(q, part) for part in keys]
        joined = ops.concatenate(scores, axis=-1) if len(scores) > 1 else scores[0]
        # XNNPACK adds, and does not select. A float32 of that size has no digits for the score.
        masked = ops.cast(joined, "float32") + ops.where(mask, 0.0, MASKED_SCORE)
        weights = dropout(ops.cast(ops.softmax(masked, axis=-1), q.dtype))
        if len(values) == 1:
            return _mixed(weights, values[0])
        length = values[0].shape[2]
        parts = (weights[..., :length], weights[..., length:])
        return sum(map(_mixed, parts, values))  # (batch, heads, time, head_dim)

    def multiply(self, rows: Any, kernel: Any, training: bool | None = None) -> Any:  # noqa: ARG002
        """The product with the kernel second, as FULLY_CONNECTED takes it."""
        return self.times_transposed(rows, kernel)

    def embed(self, embedding: Any, token_ids: Any) -> Any:
        """The rows of the layer's own table."""
        return ops.cast(self.look_up(embedding.embeddings, token_ids), embedding.compute_dtype)

    def unembed(self, embedding: Any, x: Any, training: bool | None) -> Any:
        """The product of rows, as FULLY_CONNECTED takes it, so that the table is stored once."""
        batch, time, width = ops.shape(x)
        if x.shape[1] == 1:
            return super().unembed(embedding, x, training)
        table = ops.cast(embedding.embeddings, embedding.compute_dtype)  # (vocab, width)
        logits = self.multiply(ops.reshape(x, (-1, width)), table, training)
        return ops.reshape(logits, (*open_sizes(batch, time), table.shape[0]))

    def look_up(self, table: Any, indices: Any) -> Any:
        """Rows by a list of indices, as LiteRT's lookup in quantized tables takes them."""
        rows = ops.take(table, ops.reshape(indices, (-1,)), axis=0)
        return ops.reshape(rows, (*ops.shape(indices), table.shape[-1]))

    def split_heads(self, qkv: Any, num_heads: int) -> list[Any]:
        """XNNPACK splits, and does not unstack; one position needs no transposing."""
        batch, time, width = ops.shape(qkv)
        shape = (batch, time, num_heads, width // (3 * num_heads))
        heads = [ops.reshape(part, shape) for part in ops.split(qkv, 3, axis=-1)]
        return [ops.transpose(part, (0, 2, 1, 3)) for part in heads]

    def cache_mask(self, time: Any, cache: Any, index: Any, padding_mask: Any) -> Any:
        """Of a `BlockCache`: past and block, bool `(1, 1, time, length + block_length)`."""
        if not isinstance(cache, BlockCache):
            return super().cache_mask(time, cache, index, padding_mask)
        in_block = _index_in_block(cache, index)
        length = ops.shape(cache.past_keys)[2]
        past = ops.arange(length, dtype="int32") < index - in_block
        past = ops.broadcast_to(past, (1, 1, time, length))
        return ops.concatenate([past, causal_mask(time, ops.shape(cache.keys)[2], in_block)], 3)

    def cache_slots(self, cache: Any, time: Any, index: Any) -> Any:  # noqa: ARG002
        """The corner `(0, 0, index, 0)`, in a `BlockCache` the index in the block."""
        if isinstance(cache, BlockCache):
            index = _index_in_block(cache, index)
        return ops.stack([0, 0, index, 0])

    def update_cache(
        self, cache: Any, k: Any, v: Any, slots: Any, overwrite: bool
    ) -> tuple[Any, Any, Any]:
        """Of a `BlockCache`: the block is written to, past and block are attended to."""
        if not isinstance(cache, BlockCache):
            return super().update_cache(cache, k, v, slots, overwrite)
        k, v = self.write(cache.keys, k, slots), self.write(cache.values, v, slots)
        new = cache._replace(keys=k, values=v)
        return new, [cache.past_keys, k], [cache.past_values, v]

    def write(self, cache: Any, new: Any, slots: Any, overwrite: bool = False) -> Any:  # noqa: ARG002
        """One slice written."""
        return ops.slice_update(cache, slots, ops.cast(new, cache.dtype))


LITERT = LiteRTKernels()


def _index_in_block(cache: BlockCache, index: Any) -> Any:
    """Returns where in the block that is being filled a position is."""
    return index % cache.keys.shape[2]


def _scores(queries: Any, keys: Any) -> Any:
    """(batch, heads, time, head_dim), (batch, heads, length, head_dim) → (…, time, length)."""
    if queries.shape[2] == 1:
        # XNNPACK copies the second factor of a product into a form of its own first.
        return ops.expand_dims(ops.sum(queries * keys, axis=-1), 2)
    return ops.matmul(queries, ops.swapaxes(keys, 2, 3))


def _mixed(weights: Any, values: Any) -> Any:
    """(batch, heads, time, length), (batch, heads, length, head_dim) → (…, time, head_dim)."""
    if weights.shape[2] == 1:
        return ops.sum(ops.swapaxes(weights, 2, 3) * values, axis=2, keepdims=True)
    return ops.matmul(weights, values)
