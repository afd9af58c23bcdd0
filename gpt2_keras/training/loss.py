"""The loss of training: cross entropy of the next token."""

import inspect
from typing import Any

import keras
from keras import ops

from gpt2_keras.data.batch_plan import IGNORED_TARGET
from gpt2_keras.layers.kernels import default_kernels

# Size of the logits that are in memory at the same time, in float32.
CHUNK_BYTES = 64 * 2**20


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
        chunk_rows: Rows per chunk. By default as many as fit into `CHUNK_BYTES`.

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
    size = chunk_rows or max(1, CHUNK_BYTES // (4 * table.shape[0]))

    @ops.custom_gradient
    def run(states: Any, table: Any) -> Any:
        total, states_gradient, table_gradient = _in_chunks(states, table, targets, weights, size)

        def gradient(output_gradient: Any) -> tuple[Any, Any]:
            factor = ops.cast(output_gradient, states_gradient.dtype)
            of_states = ops.cast(states_gradient * factor, states.dtype)
            return of_states, ops.cast(table_gradient * output_gradient, table.dtype)

        return total, gradient

    return run(states, table)


def _in_chunks(states: Any, table: Any, targets: Any, weights: Any, size: int) -> Any:
    """Returns the loss and its gradients with respect to `states` and `table`, by chunks."""
    rows, width = ops.shape(states)
    if isinstance(rows, int) and rows <= size:
        return _one_chunk(states, table, targets, weights)
    count = -(-rows // size)
    if not isinstance(rows, int):  # a replica may get no row of a last batch
        count = ops.maximum(count, 1)
    size = -(-rows // count)  # chunks of equal size need the least padding
    padding = count * size - rows  # rows of weight 0
    states = ops.pad(states, ((0, padding), (0, 0)))
    targets, weights = (ops.pad(values, ((0, padding),)) for values in (targets, weights))

    def step(index: Any, so_far: Any) -> Any:
        total, states_gradient, table_gradient = so_far
        start = index * size
        chunk_of = (ops.slice(values, (start,), (size,)) for values in (targets, weights))
        chunk = ops.slice(states, (start, 0), (size, width))
        loss, chunk_gradient, new = _one_chunk(chunk, table, *chunk_of)
        states_gradient = ops.slice_update(states_gradient, (start, 0), chunk_gradient)
        return total + loss, states_gradient, table_gradient + new

    zeros = (ops.zeros((), "float32"), ops.zeros_like(states), ops.zeros(table.shape, "float32"))
    total, states_gradient, table_gradient = default_kernels().loop(count, step, zeros)
    return total, states_gradient[:rows], table_gradient


def _one_chunk(states: Any, table: Any, targets: Any, weights: Any) -> Any:
    """Returns the loss and both gradients, of rows whose logits fit into memory."""
    logits = ops.cast(default_kernels().times_transposed(states, table), "float32")  # (rows, vocab)
    losses, gradients = _losses_and_gradients(logits, targets)  # (rows,), (rows, vocab)
    gradients = ops.cast(gradients, states.dtype)
    # The weights multiply the small factors, not the large one.
    row_weights = ops.cast(ops.expand_dims(weights, 1), states.dtype)
    return (
        ops.sum(losses * weights),
        ops.matmul(gradients, table) * row_weights,
        ops.cast(ops.matmul(ops.transpose(gradients), states * row_weights), "float32"),
    )


def _losses_and_gradients(logits: Any, targets: Any) -> tuple[Any, Any]:
    """Returns cross entropies `(rows,)` and their gradients `(rows, vocab)`.

    On TensorFlow's CPU a softmax and a scatter take a fifth of the time of its op that does
    both: 53 ms instead of 253 for (256, 50257) on 2 cores.
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
