"""The loss and the metrics of one batch, as the steps of both backends compute them.

The last hidden states go to `cross_entropy_sum`, which never holds all logits.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from gpt2_keras.data.batch_plan import IGNORED_TARGET
from gpt2_keras.private_api.keras import loss_tracker, update_metrics
from gpt2_keras.training.loss import cross_entropy_sum, token_weights


class Batch(NamedTuple):
    """Token ids and targets, int `(batch, time)`, and the weights of the targets, float32."""

    token_ids: Any
    targets: Any
    weights: Any


def unpack(data: Any) -> Batch:
    """Returns the batch that Keras hands to a step."""
    token_ids, targets, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    return Batch(token_ids, targets, token_weights(targets, sample_weight))


def loss_sum(model: Any, batch: Batch, *, training: bool) -> tuple[Any, Any]:
    """Returns the weighted sum of the losses of all tokens, and the last hidden states.

    Returns:
        Float32 scalar, in nats; float tensor `(batch, time, width)`.

    Raises:
        ValueError: If documents are masked and the model has no tokenizer.
    """
    segment_ids = None
    if model.step_options.document_masking:
        if model.tokenizer is None:
            raise ValueError(
                "document_masking=True, but the model has tokenizer=None. The end token of "
                "the tokenizer tells documents apart. Set `model.tokenizer` first."
            )
        segment_ids = document_ids(batch.token_ids, model.tokenizer.end_token_id)
    _, states = model(
        batch.token_ids,
        segment_ids=segment_ids,
        num_logits=0,
        return_hidden_states=True,
        training=training,
    )
    states = states[-1]  # (batch, time, width)
    table = ops.cast(model.token_embedding.embeddings, states.dtype)  # (vocab, width)
    rows = ops.reshape(states, (-1, states.shape[-1]))  # (batch × time, width)
    targets, weights = (ops.reshape(values, (-1,)) for values in (batch.targets, batch.weights))
    return cross_entropy_sum(rows, table, targets, weights), states


def document_ids(token_ids: Any, end_token_id: int) -> Any:
    """Returns the number of the document that each token belongs to.

    An end token belongs to the document that it ends.

    Args:
        token_ids: Int tensor `(batch, time)`.
        end_token_id: The id of `<|endoftext|>`.

    Returns:
        Int32 tensor `(batch, time)`, from 0 in each row.

    Example:
        >>> document_ids(np.array([[5, 9, 5, 5, 9]]), 9).numpy().tolist()
        [[0, 0, 1, 1, 1]]
    """
    ends = ops.cast(ops.equal(token_ids, end_token_id), "int32")
    return ops.cumsum(ends, axis=1) - ends


def micro_batches(batch: Batch, count: int) -> Batch:
    """Splits a batch into micro-batches; in rows of padding all targets are ignored.

    A micro-batch has every `count`-th row, and so, where JAX has distributed a batch over
    devices, equally many rows of each device.

    Returns:
        Tensors `(count, rows, time)`.
    """

    def split(values: Any, padding: int = 0) -> Any:
        size, time = ops.shape(values)
        rows = -(-size // count)
        missing = rows * count - size
        values = ops.pad(values, ((0, missing), (0, 0)), constant_values=padding)
        return ops.transpose(ops.reshape(values, (rows, count, time)), (1, 0, 2))

    targets = ops.cast(batch.targets, "int32")
    return Batch(split(batch.token_ids), split(targets, IGNORED_TARGET), split(batch.weights))


def mean_loss(total: Any, weight_sum: Any) -> Any:
    """Returns the mean of losses from their sum and that of the weights; 0 if that is 0."""
    return ops.where(weight_sum > 0, total / ops.where(weight_sum > 0, weight_sum, 1.0), 0.0)


def update_metrics_by_states(model: Any, states: Any, batch: Batch) -> None:
    """Updates compiled metrics, which few models have, with all the logits."""
    if len(model.metrics) == 1:  # the loss
        return
    logits = ops.cast(model.token_embedding(states, reverse=True), "float32")
    update_compiled_metrics(model, batch.targets, logits, batch.weights)


def update_compiled_metrics(model: Any, targets: Any, logits: Any, weights: Any) -> None:
    """Updates compiled metrics; none counts the targets to ignore.

    Args:
        model: A compiled model.
        targets: Int tensor `(batch, time)`.
        logits: Float tensor `(batch, time, vocab)`.
        weights: Float tensor `(batch, time)`, of `weighted_metrics`: 0 for targets to ignore.
    """
    counted = token_weights(targets)
    # Metrics look up the logit of each target, ignored or not.
    targets = ops.where(ops.not_equal(targets, IGNORED_TARGET), targets, 0)
    update_metrics(model, targets, logits, counted, weights)


def track_loss(model: Any, total: Any, weight_sum: Any) -> None:
    """Updates the metric `loss` with the sum of the losses and the sum of the weights."""
    loss_tracker(model).update_state(mean_loss(total, weight_sum), sample_weight=weight_sum)


def unscaled_norm(optimizer: Any, norm: Any) -> Any:
    """Returns the norm of the gradients without the scale of the loss."""
    return norm / ops.cast(optimizer.scale_loss(1.0), norm.dtype)
