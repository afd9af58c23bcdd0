"""The kernels in `keras.ops`, for any backend."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from gpt2_keras.layers.masks import causal_mask

# `attention(qkv, num_heads)`: (batch, time, 3 × width) → (batch, time, width)
FusedAttention = Callable[[Any, int], Any]
# `attend(q, k, v, mask, dropout)`, as in layers/attention.py; `dropout` may be bound already
Attend = Callable[..., Any]

# Size of the logits of a loss that are in memory at the same time, in float32.
CHUNK_BYTES = 64 * 2**20


class Kernels:
    """The operations that some backend or runtime does better than `keras.ops`.

    Attributes:
        attend: The attention formula for arguments that `layers.attention.attend` does not
            take, or None: then that is used.
    """

    attend: Attend | None = None

    def causal_attention(self, training: bool | None) -> FusedAttention | None:  # noqa: ARG002
        """Returns attention in one operation, for calls without mask, cache and dropout.

        Args:
            training: Whether gradients will be asked for.

        Returns:
            A function of the queries, keys and values, float `(batch, time, 3 × width)`, and
            the number of heads, to float `(batch, time, width)`; None if there is none.
        """
        return None

    def gelu(self, x: Any, training: bool | None) -> Any:  # noqa: ARG002
        """Returns the tanh form of GELU."""
        return ops.gelu(x, approximate=True)

    def layer_norm(self, training: bool | None) -> Callable[..., Any] | None:  # noqa: ARG002
        """Returns a function `(x, gamma, beta, epsilon)`, or None to use Keras' own."""
        return None

    def multiply(self, rows: Any, kernel: Any, training: bool | None = None) -> Any:  # noqa: ARG002
        """Returns `rows × kernelᵀ`; (count, width), (units, width) → (count, units)."""
        return self.times_transposed(rows, kernel)

    def times_transposed(self, a: Any, b: Any) -> Any:
        """Returns `a × bᵀ` of two matrices."""
        return ops.matmul(a, ops.transpose(b))

    def times_wide(self, a: Any, b: Any) -> Any:
        """Returns `a × b` in float32, whatever the dtype of the two matrices."""
        return ops.cast(ops.matmul(a, b), "float32")

    def times_transposed_wide(self, a: Any, b: Any) -> Any:
        """Returns `a × bᵀ` in float32, whatever the dtype of the two matrices."""
        return ops.cast(self.times_transposed(a, b), "float32")

    def table_multiple(self) -> int:
        """Returns a divisor that the loss pads the rows of its table of token embeddings to."""
        return 1

    def loss_rows(self, vocab_size: int) -> int:
        """Returns the number of rows whose logits the loss has in memory at the same time."""
        return max(1, CHUNK_BYTES // (4 * vocab_size))

    def cross_entropy(self, logits: Any, targets: Any, vocab_size: int) -> tuple[Any, Any]:  # noqa: ARG002
        """Returns cross entropies and their gradients.

        On TensorFlow's CPU a softmax and a scatter take a fifth of the time of its op that does
        both: 53 ms instead of 253 for (256, 50257) on 2 cores.

        Args:
            logits: Float32 tensor `(rows, columns)`.
            targets: Int32 tensor `(rows,)`.
            vocab_size: Number of the first columns that are tokens; all, if `table_multiple`
                is 1.

        Returns:
            Float32 tensors `(rows,)` and `(rows, columns)`.
        """
        probs = ops.softmax(logits, axis=-1)
        rows = ops.arange(ops.shape(targets)[0], dtype="int32")
        indices = ops.stack([rows, targets], axis=1)  # (rows, 2)
        # The log of the sum of exponentials, from the largest probability, which is never 0.
        log_sums = ops.max(logits, axis=-1) - ops.log(ops.max(probs, axis=-1))
        target_logits = ops.squeeze(ops.take_along_axis(logits, ops.expand_dims(targets, 1), 1), 1)
        return log_sums - target_logits, ops.scatter_update(
            probs, indices, ops.squeeze(ops.take_along_axis(probs, indices[:, 1:], 1), 1) - 1
        )

    def embed(self, embedding: Any, token_ids: Any) -> Any:
        """Looks up token embeddings in their layer; (batch, time) → (batch, time, width)."""
        return embedding(token_ids)

    def unembed(self, embedding: Any, x: Any, training: bool | None) -> Any:
        """Returns products with all token embeddings; (batch, time, width) → (…, vocab)."""
        if x.shape[1] != 1 or embedding.quantization_mode is not None:
            return embedding(x, reverse=True)
        table = ops.cast(embedding.embeddings, embedding.compute_dtype)  # (vocab, width)
        return ops.expand_dims(self.multiply(x[:, 0], table, training), 1)

    def look_up(self, table: Any, indices: Any) -> Any:
        """Returns rows of a table; (rows, width), (batch, time) → (batch, time, width)."""
        return ops.take(table, indices, axis=0)

    def split_heads(self, qkv: Any, num_heads: int) -> list[Any]:
        """(batch, time, 3 × width) → three of (batch, heads, time, head_dim)."""
        batch, time, width = ops.shape(qkv)
        if isinstance(time, int) and time == 1:
            # One position needs no transposing, which takes 4 % of a token on TensorFlow's CPU.
            heads = (*open_sizes(batch, num_heads), 1, width // (3 * num_heads))
            return [ops.reshape(part, heads) for part in ops.split(qkv, 3, axis=-1)]
        shape = (*open_sizes(batch, time), 3, num_heads, width // (3 * num_heads))
        return list(ops.unstack(ops.transpose(ops.reshape(qkv, shape), (2, 0, 3, 1, 4)), 3))

    def merge_heads(self, x: Any) -> Any:
        """(batch, heads, time, head_dim) → (batch, time, width)."""
        batch, num_heads, time, head_dim = ops.shape(x)
        if not (isinstance(time, int) and time == 1):
            x = ops.transpose(x, (0, 2, 1, 3))
        return ops.reshape(x, (*open_sizes(batch, time), num_heads * head_dim))

    def cache_mask(self, time: Any, cache: Any, index: Any, padding_mask: Any) -> Any:
        """Returns the keys of a cache that new tokens may attend to.

        Args:
            time: Number of new tokens.
            cache: A layer's cache.
            index: Number of positions that it holds already.
            padding_mask: Bool tensor `(batch, length)`, or None.

        Returns:
            Bool tensor `(batch or 1, 1, time, keys)`.
        """
        return causal_mask(time, ops.shape(cache[0])[2], index, padding_mask)

    def cache_slots(self, cache: Any, time: Any, index: Any) -> Any:
        """Returns where in a layer's cache new positions go, for `update_cache`.

        All layers share them, so that they are computed once.

        Args:
            cache: A layer's cache: keys and values, float `(batch, heads, length, head_dim)`.
            time: Number of new positions.
            index: Position of the first of them.

        Returns:
            Int32 tensor `(batch × heads × time,)`: rows of the cache seen as `(batch × heads
            × length, head_dim)`.

        Example:
            >>> cache = 2 * (np.zeros((1, 2, 8, 4), "float32"),)
            >>> np.array(Kernels().cache_slots(cache, time=2, index=3)).tolist()
            [3, 4, 11, 12]
        """
        batch, heads, length, _ = ops.shape(cache[0])
        first = ops.arange(batch * heads, dtype="int32") * length + index
        slots = ops.expand_dims(first, 1) + ops.arange(time, dtype="int32")
        return ops.reshape(slots, (-1,))

    def update_cache(
        self, cache: Any, k: Any, v: Any, slots: Any, overwrite: bool
    ) -> tuple[Any, Any, Any]:
        """Returns a layer's cache with new positions in it, and the keys and values to attend to.

        Args:
            cache: A layer's cache: keys and values, float `(batch, heads, length, head_dim)`.
            k, v: Float tensors `(batch, heads, time, head_dim)`.
            slots: What `cache_slots` returned.
            overwrite: Whether the memory of `cache` may become that of the result. Saves a
                copy of the whole cache; what was given must then not be used again. Without
                effect where the backend cannot.
        """
        keys = self.write(cache[0], k, slots, overwrite)
        values = self.write(cache[1], v, slots, overwrite)
        return (keys, values), keys, values

    def attend_to_cache(
        self, attend: Attend, qkv: Any, mask: Any, cache: Any, slots: Any, overwrite: bool
    ) -> tuple[Any, Any]:
        """Attends to a layer's cache and to new positions, which it adds to the cache.

        Args:
            attend: The attention formula, `attend(q, k, v, mask)`.
            qkv: The queries, keys and values of the new positions, each float `(batch, heads,
                time, head_dim)`.
            mask: What `cache_mask` returned.
            cache, slots, overwrite: As for `update_cache`.

        Returns:
            Float tensor `(batch, heads, time, head_dim)`, and the new cache.
        """
        q, k, v = qkv
        cache, keys, values = self.update_cache(cache, k, v, slots, overwrite)
        return attend(q, keys, values, mask), cache

    def write(self, cache: Any, new: Any, slots: Any, overwrite: bool = False) -> Any:
        """Returns keys or values with new positions written to their slots."""
        shape = ops.shape(cache)
        rows = ops.reshape(cache, (-1, shape[-1]))  # (batch × heads × length, head_dim)
        new = ops.reshape(ops.cast(new, cache.dtype), (-1, shape[-1]))
        return ops.reshape(self.write_rows(rows, new, slots, overwrite), shape)

    def write_rows(self, rows: Any, new: Any, slots: Any, overwrite: bool) -> Any:  # noqa: ARG002
        """Returns `rows` with `new` at the indices `slots`."""
        # Not `ops.slice_update`: outside XLA it compiles a program for every shape it meets.
        return ops.scatter_update(rows, ops.expand_dims(slots, 1), new)

    def loop(self, count: Any, step: Callable[[Any, Any], Any], start: Any) -> Any:
        """Returns `step(index, values)` applied to `start`, for each index in turn."""
        return ops.fori_loop(0, count, step, start)

    def remat(self, function: Callable[..., Any], keep_products: bool) -> Callable[..., Any]:  # noqa: ARG002
        """Returns a function that is computed again for its gradients, from its arguments.

        Args:
            function: The function of tensors.
            keep_products: Whether the results of products with weights are kept, on JAX.
        """
        again: Callable[..., Any] = keras.remat(function)
        return again

    def value_and_gradient(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
        """Returns a function's value and the gradient of its sum.

        Args:
            function: The function of a tensor.
            x: The float tensor.

        Raises:
            NotImplementedError: If Keras runs on another backend than TensorFlow and JAX.
        """
        raise NotImplementedError(
            f"Keras runs on {keras.backend.backend()}. Gradients are computed on TensorFlow or "
            "JAX. Set KERAS_BACKEND to one of them."
        )

    def uninitialized(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Returns a tensor of any values, to be written to next."""
        return ops.zeros(shape, dtype)


def open_sizes(batch: Any, time: Any) -> tuple[Any, Any]:
    """Returns both sizes for a reshape; -1 for the batch if only that is unknown.

    One unknown size needs no computing in the graph.

    Example:
        >>> open_sizes(2, 3)
        (2, 3)
    """
    only_batch = isinstance(time, int) and not isinstance(batch, int)
    return (-1 if only_batch else batch), time
