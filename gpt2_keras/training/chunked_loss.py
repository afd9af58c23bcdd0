"""Losses of the logits without all logits in memory: sums over chunks of rows.

The logits `states × tableᵀ` and their gradients are computed for a chunk of rows at a time, in
the same pass: nothing as large as `(rows, vocab)` is kept for the backward pass, and nothing is
computed twice. Equal to the loss on all logits.
"""

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from gpt2_keras.layers.kernels import current_kernels

# `objective(logits, vocab_size, *chunk)`: float32 logits (rows, columns), of which the first
# `vocab_size` columns are tokens, and the rows of each further tensor → losses, each float32
# (rows,), and the gradient of the first with respect to the logits, (rows, columns).
Objective = Callable[..., tuple[tuple[Any, ...], Any]]


def cross_entropy_sum(
    states: Any, table: Any, targets: Any, weights: Any, *, chunk_rows: int | None = None
) -> Any:
    """Returns the weighted sum of cross entropies, without all logits in memory.

    Args:
        states: Float tensor `(rows, width)`: the last hidden states.
        table: Float tensor `(vocab, width)` of the same dtype: the token embeddings.
        targets: Int tensor `(rows,)`; where `weights` is 0 any value.
        weights: Float32 tensor `(rows,)`.
        chunk_rows: Rows per chunk. By default as `Kernels.loss_rows` says.

    Returns:
        Float32 scalar, in nats.

    Example:
        >>> float(cross_entropy_sum(
        ...     np.zeros((2, 3), "float32"), np.zeros((4, 3), "float32"),
        ...     np.array([0, 1]), np.array([1.0, 0.0], "float32"),
        ... ))  # log 4
        1.386...
    """
    targets = known_targets(targets, weights)
    (total,) = loss_sums(
        _cross_entropy, states, table, weights, (targets,), count=1, chunk_rows=chunk_rows
    )
    return total


def known_targets(targets: Any, weights: Any) -> Any:
    """Returns int32 targets; 0 where `weights` is 0, as a target there may be no token."""
    return ops.where(ops.equal(weights, 0), 0, ops.cast(targets, "int32"))


def _cross_entropy(logits: Any, vocab_size: int, targets: Any) -> tuple[tuple[Any], Any]:
    """The objective of `cross_entropy_sum`."""
    losses, gradient = current_kernels().cross_entropy(logits, targets, vocab_size)
    return (losses,), gradient


def loss_sums(
    objective: Objective,
    states: Any,
    table: Any,
    weights: Any,
    rows: Sequence[Any],
    *,
    count: int,
    chunk_rows: int | None = None,
) -> list[Any]:
    """Returns the weighted sums of losses of the logits; the first has gradients.

    Args:
        objective: See `Objective`.
        states: Float tensor `(rows, width)`.
        table: Float tensor `(vocab, width)` of the same dtype.
        weights: Float32 tensor `(rows,)`.
        rows: Tensors `(rows, …)`, whose rows the objective is given.
        count: Number of losses that the objective returns.
        chunk_rows: Rows per chunk. By default as `Kernels.loss_rows` says.

    Returns:
        `count` float32 scalars.
    """
    kernels, vocab_size = current_kernels(), table.shape[0]
    size = chunk_rows or kernels.loss_rows(vocab_size)
    padding = -vocab_size % kernels.table_multiple()
    chunks = _Chunks(objective, vocab_size, count)

    @ops.custom_gradient
    def run(states: Any, table: Any) -> Any:
        # The rows of the padding are tokens for nobody: their gradients are 0, and left out.
        padded = ops.pad(table, ((0, padding), (0, 0))) if padding else table
        totals, states_gradient, table_gradient = chunks.all([states, weights, *rows], padded, size)
        table_gradient = table_gradient[:vocab_size] if padding else table_gradient

        def gradient(output_gradient: Any) -> tuple[Any, Any]:
            of_first = output_gradient[0]
            factor = ops.cast(of_first, states_gradient.dtype)
            of_states = ops.cast(states_gradient * factor, states.dtype)
            return of_states, ops.cast(table_gradient * of_first, table.dtype)

        return totals, gradient

    totals = run(states, table)  # (count,)
    return [totals[0], *(ops.stop_gradient(totals[index]) for index in range(1, count))]


class _Chunks:
    """The sums of an objective over rows, in chunks.

    Args:
        objective, count: As for `loss_sums`.
        vocab_size: Number of columns of the logits that are tokens.
    """

    def __init__(self, objective: Objective, vocab_size: int, count: int) -> None:
        self._objective, self._vocab_size, self._count = objective, vocab_size, count

    def all(self, rows: list[Any], table: Any, size: int) -> tuple[Any, Any, Any]:
        """Returns the sums, (count,), and the gradients with respect to states and table.

        Args:
            rows: States `(rows, width)`, weights `(rows,)` and further tensors `(rows, …)`.
            table: Float tensor `(columns, width)`.
            size: Largest number of rows of a chunk.
        """
        states = rows[0]
        num_rows = ops.shape(states)[0]
        if isinstance(num_rows, int) and num_rows <= size:
            return self._one(rows, table)
        count = -(-num_rows // size)
        if not isinstance(num_rows, int):  # a replica may get no row of a last batch
            count = ops.maximum(count, 1)
        size = -(-num_rows // count)  # chunks of equal size need the least padding
        padding = count * size - num_rows  # rows of weight 0
        rows = [ops.pad(each, ((0, padding), *[(0, 0)] * (len(each.shape) - 1))) for each in rows]

        def step(index: Any, so_far: Any) -> Any:
            totals, states_gradient, table_gradient = so_far
            start = index * size
            chunk = [_slice_of(each, start, size) for each in rows]
            new_totals, chunk_gradient, new = self._one(chunk, table)
            states_gradient = ops.slice_update(states_gradient, (start, 0), chunk_gradient)
            return totals + new_totals, states_gradient, table_gradient + new

        zeros = (
            ops.zeros((self._count,), "float32"),
            ops.zeros_like(rows[0]),
            ops.zeros(table.shape, "float32"),
        )
        totals, states_gradient, table_gradient = current_kernels().loop(count, step, zeros)
        return totals, states_gradient[:num_rows], table_gradient

    def _one(self, rows: list[Any], table: Any) -> tuple[Any, Any, Any]:
        """Returns the sums and both gradients, of rows whose logits fit into memory."""
        kernels, (states, weights, *others) = current_kernels(), rows
        logits = kernels.times_transposed_wide(states, table)  # (rows, columns)
        losses, gradients = self._objective(logits, self._vocab_size, *others)
        gradients = ops.cast(gradients, states.dtype)
        # The weights multiply the small factors, not the large one.
        row_weights = ops.cast(ops.expand_dims(weights, 1), states.dtype)
        return (
            ops.stack([ops.sum(each * weights) for each in losses]),
            ops.matmul(gradients, table) * row_weights,
            kernels.times_wide(ops.transpose(gradients), states * row_weights),
        )


def _slice_of(tensor: Any, start: Any, size: Any) -> Any:
    """Returns rows of a tensor."""
    others = tensor.shape[1:]
    return ops.slice(tensor, (start, *[0] * len(others)), (size, *others))
