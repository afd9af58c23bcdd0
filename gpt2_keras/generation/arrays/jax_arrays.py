"""JAX' array functions, of static shapes; see `tensorflow_arrays.py` for what each computes."""

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import numpy as jnp

from gpt2_keras.generation.arrays import static_shapes

abs = jnp.abs  # noqa: A001 -- NumPy's name
asarray = jnp.asarray
bitwise_xor = jnp.bitwise_xor
clip = jnp.clip
cumprod = jnp.cumprod
exp = jnp.exp
expand_dims = jnp.expand_dims
log = jnp.log
log_softmax = jax.nn.log_softmax
map_structure = jax.tree.map
max = jnp.max  # noqa: A001
maximum = jnp.maximum
min = jnp.min  # noqa: A001
minimum = jnp.minimum
one_hot = jax.nn.one_hot
ones = jnp.ones
ones_like = jnp.ones_like
pad = jnp.pad
repeat = jnp.repeat
reshape = jnp.reshape
right_shift = jnp.right_shift
shape = jnp.shape
sizes = jnp.shape
softmax = jax.nn.softmax
sum = jnp.sum  # noqa: A001
all = jnp.all  # noqa: A001
any = jnp.any  # noqa: A001
top_k = jax.lax.top_k
where = jnp.where
zeros_like = jnp.zeros_like


def arange(count: Any) -> jax.Array:
    """Returns 0, 1, …, int32."""
    return jnp.arange(count, dtype="int32")


def argsort(x: Any, axis: int, *, stable: bool = True) -> jax.Array:
    """Returns the order of the values, int32."""
    return jnp.argsort(x, axis=axis, stable=stable).astype("int32")


def argmax(x: Any, axis: int) -> jax.Array:
    """Returns the indices of the largest, int32."""
    return jnp.argmax(x, axis=axis).astype("int32")


def cast(x: Any, dtype: Any) -> jax.Array:
    """Returns the values in another dtype."""
    return jnp.asarray(x).astype(dtype)


def concat(parts: Sequence[Any], axis: int) -> jax.Array:
    """Returns arrays one after the other."""
    return jnp.concatenate([jnp.asarray(part) for part in parts], axis=axis)


def cond(condition: Any, compute: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """Computes one of two values."""
    return jax.lax.cond(condition, compute, otherwise)


def constant(value: Any, dtype: Any = None) -> jax.Array:
    """Returns a value as an array, of a dtype that later values keep."""
    array = jnp.asarray(value, dtype)
    return array.astype(array.dtype)


def cumsum(x: Any, axis: int, *, exclusive: bool = False) -> jax.Array:
    """Returns the sums of the values so far; `exclusive` of each itself."""
    sums = jnp.cumsum(x, axis=axis)
    return sums - x if exclusive else sums


def full(shape: Sequence[int], value: Any) -> jax.Array:
    """Returns an array of one value."""
    return jnp.full(tuple(shape), value, jnp.asarray(value).dtype)


def zeros(shape: Sequence[int], dtype: Any = "float32") -> jax.Array:
    """Returns an array of zeros."""
    return jnp.zeros(tuple(shape), dtype)


def identity(x: Any) -> Any:
    """Returns the array."""
    return x


def gather(x: Any, indices: Any, axis: int | None = None, batch_dims: int = 0) -> jax.Array:
    """Returns entries by their indices, which are of the axis after the leading `batch_dims`."""
    axis = batch_dims if axis is None else axis

    def take(x: Any, indices: Any) -> Any:
        return jnp.take(x, indices, axis=axis - batch_dims, mode="clip")

    for _ in range(batch_dims):
        take = jax.vmap(take)
    return take(jnp.asarray(x), jnp.asarray(indices))


def logsumexp(x: Any, axis: int) -> jax.Array:
    """Returns the logarithm of the sum of exponentials."""
    return jax.nn.logsumexp(x, axis=axis)


def matmul_transposed(a: Any, b: Any) -> jax.Array:
    """Returns a × bᵀ."""
    return jnp.matmul(a, jnp.swapaxes(b, -1, -2))


def sequence_mask(lengths: Any, length: Any) -> jax.Array:
    """Returns which columns are below each length, bool `(batch, length)`."""
    return arange(length)[None] < jnp.asarray(lengths)[:, None]


def static_value(value: Any) -> Any:
    """Returns None: a value is known when the function runs."""
    return None if isinstance(value, jax.core.Tracer) else value


def transpose(x: Any, axes: Sequence[int] | None = None) -> jax.Array:
    """Returns an array with its axes in another order, by default the reverse."""
    return jnp.transpose(x, axes)


def unit_vectors(x: Any) -> jax.Array:
    """Returns vectors scaled to length 1; 0 stays 0."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-12))


def while_loop(condition: Callable[..., Any], body: Callable[..., Any], start: Any) -> Any:
    """Runs a loop; the body returns as many values as it takes."""
    start = jax.tree.map(constant, tuple(start))
    return jax.lax.while_loop(
        lambda values: condition(*values), lambda values: tuple(body(*values)), start
    )


def leading(x: Any, count: Any) -> jax.Array:  # noqa: ARG001
    """Returns all rows: shapes are static, and who calls the loop knows how many are written."""
    return x


def write_row(x: Any, index: Any, row: Any) -> jax.Array:
    """Returns an array with one row replaced."""
    return jax.lax.dynamic_update_index_in_dim(x, row, index, 0)


def write_column(x: Any, index: Any, column: Any) -> jax.Array:
    """Returns a matrix with one column replaced."""
    return jax.lax.dynamic_update_index_in_dim(x, column, index, 1)


def cross_entropy(logits: Any, ids: Any) -> jax.Array:
    """Returns the cross entropy of ids and logits, in nats."""
    chosen = jnp.take_along_axis(logits, ids[..., None], axis=-1, mode="clip")[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def largest(x: Any, count: Any) -> jax.Array:
    """Returns the values of the largest of each row, in order, minus infinity after the last.

    A sort of all is needed only where a row wants more than a few.
    """
    few = builtins.min(static_shapes.FEW, x.shape[1])

    def of_few(x: Any) -> Any:
        values = jax.lax.top_k(x, few)[0]
        return jnp.pad(values, ((0, 0), (0, x.shape[1] - few)), constant_values=-jnp.inf)

    def of_all(x: Any) -> Any:
        return -jnp.sort(-x, axis=1)

    return jax.lax.cond(jnp.max(count) <= few, of_few, of_all, x)


def count_ids(ids: Any, counted: Any, num_ids: int) -> jax.Array:
    """Counts the ids of each row."""
    rows = arange(ids.shape[0])[:, None]
    ones = counted.astype("float32")
    return zeros((ids.shape[0], num_ids)).at[rows, jnp.where(counted, ids, 0)].add(ones)


def mark_ids(ids: Any, marked: Any, like: Any) -> jax.Array:
    """Returns which ids are marked in each row."""
    rows = arange(ids.shape[0])[:, None]
    return zeros(like.shape, bool).at[rows, jnp.where(marked, ids, 0)].max(marked)


def mark_everywhere(ids: Any, like: Any) -> jax.Array:
    """Returns which ids are given."""
    return zeros(like.shape[1:], bool).at[ids].set(True)


def same_shape(x: Any, like: Any) -> jax.Array:  # noqa: ARG001
    """Returns an array, whose shape JAX knows."""
    return x


class Rows:
    """Rows that a loop writes one after the other, in one array that XLA updates in place."""

    @staticmethod
    def empty(dtype: str, count: int, row_shape: Sequence[int]) -> jax.Array:
        """Returns as many rows of zeros."""
        return zeros((count, *row_shape), dtype)

    @staticmethod
    def write(rows: Any, index: Any, row: Any) -> jax.Array:
        """Returns the rows with one replaced."""
        return write_row(rows, index, row)

    @staticmethod
    def stack(rows: Any) -> Any:
        """Returns the rows."""
        return rows
