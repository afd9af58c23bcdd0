"""Where the keys and values of past positions are kept, and how new ones get there."""

from typing import Any, NamedTuple

import keras
from keras import ops

from gpt2_keras.layers.litert import is_for_litert


class BlockCache(NamedTuple):
    """A layer's cache in two parts, of which only the small one is written to.

    LiteRT copies a tensor that a step changes, once for the change and once more to
    carry it from turn to turn of a loop; what a loop only reads is not copied. So new
    positions go to a block of a few, which whoever holds the cache writes to the past
    when it is full. Rows have no padding.
    """

    past_keys: Any  # float (batch, heads, length, head_dim)
    past_values: Any
    keys: Any  # float (batch, heads, block_length, head_dim): the block that is being filled
    values: Any


def block_index(cache: Any, index: Any) -> Any:
    """Returns where in the block that is being filled a position is.

    Args:
        cache: The `BlockCache` of a layer.
        index: The position.
    """
    return index % cache.keys.shape[2]


def cache_slots(cache: Any, time: Any, index: Any) -> Any:
    """Returns the places of new positions in a layer's cache.

    All layers share them, so that they are computed once.

    Args:
        cache: Float tensor `(batch, heads, length, head_dim)`.
        time: Number of new positions.
        index: Where in the cache the first of them goes.

    Returns:
        What `write_cache` takes. For TensorFlow an int32 tensor `(batch × heads ×
        time,)`: rows of the cache seen as `(batch × heads × length, head_dim)`.

    Example:
        >>> print(cache_slots(np.zeros((1, 2, 8, 4), "float32"), time=2, index=3))
        tf.Tensor([ 3  4 11 12], shape=(4,), dtype=int32)
    """
    if is_for_litert():
        return ops.stack([0, 0, index, 0])
    batch, heads, length, _ = ops.shape(cache)
    first = ops.arange(batch * heads, dtype="int32") * length + index
    slots = ops.expand_dims(first, 1) + ops.arange(time, dtype="int32")
    return ops.reshape(slots, (-1,))


def write_cache(cache: Any, new: Any, slots: Any, *, overwrite: bool = False) -> Any:
    """Returns the cache with new positions written to it.

    Args:
        cache: Float tensor `(batch, heads, length, head_dim)`.
        new: Float tensor `(batch, heads, time, head_dim)`.
        slots: What `cache_slots` returns.
        overwrite: Whether the memory of `cache` may become that of the result.
            Saves a copy of the whole cache; the tensor given must then not be
            used again. On other backends than TensorFlow without effect.

    Example:
        >>> cache, new = np.zeros((1, 1, 3, 1), "float32"), np.ones((1, 1, 1, 1), "float32")
        >>> written = write_cache(cache, new, cache_slots(cache, time=1, index=2))
        >>> np.array(written).ravel().tolist()
        [0.0, 0.0, 1.0]
    """
    if is_for_litert():
        return ops.slice_update(cache, slots, ops.cast(new, cache.dtype))
    shape = ops.shape(cache)
    rows = ops.reshape(cache, (-1, shape[-1]))  # (batch × heads × length, head_dim)
    new = ops.reshape(ops.cast(new, cache.dtype), (-1, shape[-1]))
    if overwrite and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Every scatter of TensorFlow's copies its whole input first, in a loop too.
        rows = tf.raw_ops.InplaceUpdate(x=rows, i=slots, v=new)
    else:
        # Not `ops.slice_update`: outside XLA it compiles a program for every shape it meets.
        rows = ops.scatter_update(rows, ops.expand_dims(slots, 1), new)
    return ops.reshape(rows, shape)
