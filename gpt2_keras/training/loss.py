"""The loss of training: cross entropy of the next token."""

import inspect
from typing import Any, NamedTuple

import keras
from keras import ops

from gpt2_keras.data.batch_plan import IGNORED_TARGET
from gpt2_keras.layers.kernels import current_kernels


def make_loss() -> keras.losses.Loss:
    """Returns the cross entropy of the next token, in nats per token.

    Targets equal to `IGNORED_TARGET` are skipped: the loss is the mean over the other tokens
    of the batch, and the skipped ones have no gradient.

    Returns:
        A Keras loss on targets, int `(batch, time)`, and logits, float
        `(batch, time, vocab)`. Keras' own class, so a saved model needs nothing
        else to load it.

    Example:
        >>> logits = np.zeros((1, 2, 4), "float32")
        >>> float(make_loss()(np.array([[3, IGNORED_TARGET]]), logits))  # log 4
        1.386...
    """
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=IGNORED_TARGET, name="cross_entropy"
    )


def is_default_loss(loss: Any) -> bool:
    """Returns whether a loss equals that of `make_loss`, as one loaded from a file does."""
    default = make_loss()
    return type(loss) is type(default) and loss.get_config() == default.get_config()


def check_loss(loss: Any) -> None:
    """Raises ValueError if a loss of Keras' takes probabilities: the model returns logits.

    Args:
        loss: As given to `compile`: a name, a function or an object.
    """
    found = keras.losses.get(loss) if isinstance(loss, str) else loss
    if isinstance(found, keras.losses.Loss):
        from_logits = found.get_config().get("from_logits")
    else:
        from_logits = _default_of(found, "from_logits")
    if from_logits is False:
        raise ValueError(
            f"loss={loss!r} expects probabilities, but the model returns logits. Use "
            'loss="auto", or keras.losses.SparseCategoricalCrossentropy(from_logits=True, '
            f"ignore_class={IGNORED_TARGET})."
        )


def _default_of(function: Any, name: str) -> Any:
    """Returns the default of a function's argument; None if there is none."""
    try:
        parameter = inspect.signature(function).parameters.get(name)
    except (TypeError, ValueError):  # not callable, or without a signature
        return None
    return None if parameter is None else parameter.default


def token_weights(targets: Any, sample_weight: Any = None) -> Any:
    """Returns the weight of each target.

    Args:
        targets: Int tensor `(batch, time)`.
        sample_weight: Float tensor `(batch,)` or `(batch, time)`, or None.

    Returns:
        Float32 tensor `(batch, time)`: 0 for `IGNORED_TARGET`, else the weight.

    Example:
        >>> token_weights(np.array([[3, IGNORED_TARGET]]), np.array([0.5])).numpy().tolist()
        [[0.5, 0.0]]
    """
    weights = ops.cast(ops.not_equal(targets, IGNORED_TARGET), "float32")
    if sample_weight is None:
        return weights
    sample_weight = ops.cast(sample_weight, "float32")
    if len(sample_weight.shape) == 1:
        sample_weight = ops.expand_dims(sample_weight, 1)
    return weights * sample_weight


def cross_entropy_sum(
    states: Any, table: Any, targets: Any, weights: Any, *, chunk_rows: int | None = None
) -> Any:
    """Returns the weighted sum of cross entropies, without all logits in memory.

    The logits `states × tableᵀ` and their gradients are computed for a chunk of rows at a
    time, in the same pass: nothing as large as `(rows, vocab)` is kept for the backward pass,
    and nothing is computed twice. Equal to the loss on all logits.

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
    targets = ops.where(ops.equal(weights, 0), 0, ops.cast(targets, "int32"))
    kernels, vocab_size = current_kernels(), table.shape[0]
    size = chunk_rows or kernels.loss_rows(vocab_size)
    padding = -vocab_size % kernels.table_multiple()

    @ops.custom_gradient
    def run(states: Any, table: Any) -> Any:
        # The rows of the padding are tokens for nobody: their gradients are 0, and left out.
        padded = ops.pad(table, ((0, padding), (0, 0))) if padding else table
        rows = _Rows(states, targets, weights)
        total, states_gradient, table_gradient = _in_chunks(rows, padded, vocab_size, size)
        table_gradient = table_gradient[:vocab_size] if padding else table_gradient

        def gradient(output_gradient: Any) -> tuple[Any, Any]:
            factor = ops.cast(output_gradient, states_gradient.dtype)
            of_states = ops.cast(states_gradient * factor, states.dtype)
            return of_states, ops.cast(table_gradient * output_gradient, table.dtype)

        return total, gradient

    return run(states, table)


class _Rows(NamedTuple):
    """Rows of the loss: states `(rows, width)`, targets and weights `(rows,)`."""

    states: Any
    targets: Any
    weights: Any


def _in_chunks(rows: _Rows, table: Any, vocab_size: int, size: int) -> Any:
    """Returns the loss and its gradients with respect to `states` and `table`, by chunks."""
    num_rows, width = ops.shape(rows.states)
    if isinstance(num_rows, int) and num_rows <= size:
        return _one_chunk(rows, table, vocab_size)
    count = -(-num_rows // size)
    if not isinstance(num_rows, int):  # a replica may get no row of a last batch
        count = ops.maximum(count, 1)
    size = -(-num_rows // count)  # chunks of equal size need the least padding
    padding = count * size - num_rows  # rows of weight 0
    states = ops.pad(rows.states, ((0, padding), (0, 0)))
    targets, weights = (ops.pad(values, ((0, padding),)) for values in rows[1:])

    def step(index: Any, so_far: Any) -> Any:
        total, states_gradient, table_gradient = so_far
        start = index * size
        chunk_of = (ops.slice(values, (start,), (size,)) for values in (targets, weights))
        chunk = _Rows(ops.slice(states, (start, 0), (size, width)), *chunk_of)
        loss, chunk_gradient, new = _one_chunk(chunk, table, vocab_size)
        states_gradient = ops.slice_update(states_gradient, (start, 0), chunk_gradient)
        return total + loss, states_gradient, table_gradient + new

    zeros = (ops.zeros((), "float32"), ops.zeros_like(states), ops.zeros(table.shape, "float32"))
    total, states_gradient, table_gradient = current_kernels().loop(count, step, zeros)
    return total, states_gradient[:num_rows], table_gradient


def _one_chunk(rows: _Rows, table: Any, vocab_size: int) -> Any:
    """Returns the loss and both gradients, of rows whose logits fit into memory."""
    kernels, states = current_kernels(), rows.states
    logits = kernels.times_transposed_wide(states, table)  # (rows, columns)
    losses, gradients = kernels.cross_entropy(logits, rows.targets, vocab_size)
    gradients = ops.cast(gradients, states.dtype)
    # The weights multiply the small factors, not the large one.
    row_weights = ops.cast(ops.expand_dims(rows.weights, 1), states.dtype)
    return (
        ops.sum(losses * rows.weights),
        ops.matmul(gradients, table) * row_weights,
        kernels.times_wide(ops.transpose(gradients), states * row_weights),
    )
