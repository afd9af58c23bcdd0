"""TensorFlow's array functions, in graphs of unknown shapes; see `jax_arrays.py`.

In a graph of static shapes, for XLA, two of them are those of JAX.
"""

import builtins
from typing import Any

import tensorflow as tf

from gpt2_keras.generation.arrays import static_shapes

abs = tf.abs  # noqa: A001 -- NumPy's name
arange = tf.range
argsort = tf.argsort
asarray = tf.convert_to_tensor
bitwise_xor = tf.bitwise.bitwise_xor
cast = tf.cast
clip = tf.clip_by_value
concat = tf.concat
cond = tf.cond
constant = tf.constant
cumprod = tf.math.cumprod
cumsum = tf.cumsum
exp = tf.exp
expand_dims = tf.expand_dims
full = tf.fill
gather = tf.gather
identity = tf.identity
log = tf.math.log
log_softmax = tf.nn.log_softmax
logsumexp = tf.reduce_logsumexp
map_structure = tf.nest.map_structure
max = tf.reduce_max  # noqa: A001
maximum = tf.maximum
min = tf.reduce_min  # noqa: A001
minimum = tf.minimum
one_hot = tf.one_hot
ones = tf.ones
ones_like = tf.ones_like
pad = tf.pad
repeat = tf.repeat
reshape = tf.reshape
right_shift = tf.bitwise.right_shift
sequence_mask = tf.sequence_mask
shape = tf.shape
softmax = tf.nn.softmax
static_value = tf.get_static_value
sum = tf.reduce_sum  # noqa: A001
top_k = tf.math.top_k
transpose = tf.transpose
where = tf.where
while_loop = tf.while_loop
zeros = tf.zeros
zeros_like = tf.zeros_like


def all(x: Any, axis: int | None = None) -> tf.Tensor:  # noqa: A001
    """Returns whether all are true."""
    return tf.reduce_all(x, axis=axis)


def any(x: Any, axis: int | None = None) -> tf.Tensor:  # noqa: A001
    """Returns whether any is true."""
    return tf.reduce_any(x, axis=axis)


def sizes(x: Any) -> list[tf.Tensor]:
    """Returns the size of each axis."""
    sizes: list[tf.Tensor] = tf.unstack(tf.shape(x))
    return sizes


def argmax(x: Any, axis: int) -> tf.Tensor:
    """Returns the indices of the largest, int32."""
    return tf.argmax(x, axis=axis, output_type=tf.int32)


def matmul_transposed(a: Any, b: Any) -> tf.Tensor:
    """Returns a × bᵀ."""
    return tf.matmul(a, b, transpose_b=True)


def unit_vectors(x: Any) -> tf.Tensor:
    """Returns vectors scaled to length 1; 0 stays 0."""
    return tf.math.l2_normalize(x, axis=-1)


def leading(x: Any, count: Any) -> tf.Tensor:
    """Returns the first rows, as many as a loop has written; all in static shapes."""
    return x if static_shapes.are_static() else x[:count]


def write_row(x: Any, index: Any, row: Any) -> tf.Tensor:
    """Returns a tensor with one row replaced."""
    return tf.tensor_scatter_nd_update(x, [[index]], [row])


def write_column(x: Any, index: Any, column: Any) -> tf.Tensor:
    """Returns a matrix with one column replaced."""
    rows = tf.range(tf.shape(column)[0])
    indices = tf.stack([rows, tf.fill(tf.shape(rows), index)], axis=1)
    return tf.tensor_scatter_nd_update(x, indices, column)


def cross_entropy(logits: Any, ids: Any) -> tf.Tensor:
    """Returns the cross entropy of ids `(…,)` and logits `(…, vocab)`, in nats."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=ids, logits=logits)


def largest(x: Any, count: Any) -> tf.Tensor:
    """Returns the values of the largest of each row, at least as many as any row wants.

    In static shapes all, or a few and minus infinity after the last of them.

    Args:
        x: Float tensor `(batch, n)`.
        count: Int32 tensor `(batch,)`: how many each row wants.
    """
    widest = tf.reduce_max(count)
    if not static_shapes.are_static():
        # Sorts as many as the widest row needs: with top_k everywhere, a few and not all.
        return tf.math.top_k(x, widest).values
    size = x.shape[1]
    few = builtins.min(static_shapes.FEW, size)

    def of_few() -> tf.Tensor:
        values = tf.math.top_k(x, few).values
        return tf.pad(values, [[0, 0], [0, size - few]], constant_values=-float("inf"))

    return tf.cond(widest <= few, of_few, lambda: tf.math.top_k(x, size).values)


def count_ids(ids: Any, counted: Any, num_ids: Any) -> tf.Tensor:
    """Counts the ids of each row, int32 and bool `(batch, n)`; float32 `(batch, num_ids)`."""
    batch_size, length = sizes(ids)
    rows = tf.expand_dims(tf.range(batch_size), 1) * num_ids
    # Negative segments are dropped.
    indices = tf.where(counted, rows + ids, -1)
    ones = tf.ones([batch_size * length])
    sums = tf.math.unsorted_segment_sum(ones, tf.reshape(indices, [-1]), batch_size * num_ids)
    return tf.reshape(sums, [batch_size, num_ids])


def mark_ids(ids: Any, marked: Any, like: Any) -> tf.Tensor:
    """Returns which ids are marked in each row: bool, of the shape of `like`, `(batch, num_ids)`.

    Of fixed shapes, whatever is marked: LiteRT takes no others inside a branch.
    """
    batch_size, count = sizes(ids)
    rows = tf.repeat(tf.expand_dims(tf.range(batch_size), 1), count, axis=1)
    indices = tf.stack([rows, tf.where(marked, ids, 0)], axis=2)  # (batch, count, 2)
    return tf.scatter_nd(indices, tf.cast(marked, tf.int32), tf.shape(like)) > 0


def mark_everywhere(ids: Any, like: Any) -> tf.Tensor:
    """Returns which ids, `(count,)`, are given: bool `(num_ids,)`, the last axis of `like`."""
    return tf.scatter_nd(ids[:, None], tf.ones_like(ids), tf.shape(like)[1:]) > 0


def same_shape(x: Any, like: Any) -> tf.Tensor:
    """Returns a tensor, of which the graph is told that its shape is another's."""
    return tf.ensure_shape(x, like.shape)


class Rows:
    """Rows that a loop writes one after the other, without a copy of all for each."""

    @staticmethod
    def empty(dtype: str, count: Any, _row_shape: Any) -> Any:
        """Returns as many rows, none of which is written."""
        return tf.TensorArray(dtype, count)

    @staticmethod
    def write(rows: Any, index: Any, row: Any) -> Any:
        """Returns the rows with one more."""
        return rows.write(index, row)

    @staticmethod
    def stack(rows: Any) -> Any:
        """Returns the rows in one tensor."""
        return rows.stack()
