"""The loss and the metrics of one batch, as the steps of both backends compute them.

The last hidden states go to `chunked_loss`, which never holds all logits.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from gpt2_keras.data.batch_plan import IGNORED_TARGET
from gpt2_keras.private_api.keras import loss_tracker, update_metrics
from gpt2_keras.training.chunked_loss import cross_entropy_sum
from gpt2_keras.training.distillation import Distillation, StoredLogits
from gpt2_keras.training.loss import token_weights


class Batch(NamedTuple):
    """Token ids and targets, int `(batch, time)`, and the weights of the targets, float32.

    With stored logits of a teacher also those, `(batch, time, top_k)` and `(…, top_k + 1)`.
    """

    token_ids: Any
    targets: Any
    weights: Any
    teacher_ids: Any = None
    teacher_logits: Any = None


def unpack(data: Any) -> Batch:
    """Returns the batch that Keras hands to a step."""
    x, targets, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    parts = x if isinstance(x, dict) else {"token_ids": x}
    return Batch(targets=targets, weights=token_weights(targets, sample_weight), **parts)


def num_losses(model: Any) -> int:
    """Returns the number of sums of `loss_sum`."""
    return 1 if model.step_options.distillation is None else 2


def loss_sum(model: Any, batch: Batch, *, training: bool) -> tuple[Any, Any]:
    """Returns the weighted sum of the losses of all tokens, and the last hidden states.

    Returns:
        Float32 tensor `(num_losses,)`, in nats: the loss, and of a student that learns from a
        teacher the cross entropy within it, which without training is its loss;
        float tensor `(batch, time, width)`.

    Raises:
        ValueError: If documents are masked and the model has no tokenizer, or the batch
            lacks the logits of the teacher.
    """
    segment_ids = _segment_ids(model, batch)
    states = _last_states(model, batch, segment_ids, training=training)  # (batch, time, width)
    table = _table(model, states)
    targets, weights = (ops.reshape(values, (-1,)) for values in (batch.targets, batch.weights))
    distillation = model.step_options.distillation
    if distillation is None or not training:
        total = cross_entropy_sum(_rows(states), table, targets, weights)
        return ops.stack([total] * num_losses(model)), states
    teacher = _teacher_rows(distillation, batch, segment_ids)
    sums = distillation.loss_sums(_rows(states), table, targets, weights, teacher=teacher)
    return ops.stack(sums), states


def _teacher_rows(
    distillation: Distillation, batch: Batch, segment_ids: Any
) -> tuple[Any, Any] | StoredLogits:
    """Returns what a teacher knows of a batch, as `Distillation.loss_sums` takes it."""
    if not distillation.is_stored:
        teacher = distillation.teacher
        states = _last_states(teacher, batch, segment_ids, training=False)
        return _rows(states), _table(teacher, states)
    if batch.teacher_ids is None:
        raise ValueError(
            "distill_from='stored', but the batch has no teacher_ids and teacher_logits. Use "
            "make_dataset(…, teacher_logits=…), or give the teacher itself."
        )
    return StoredLogits(_rows(batch.teacher_ids), _rows(batch.teacher_logits))


def _segment_ids(model: Any, batch: Batch) -> Any:
    """Returns the document of each token, int32 (batch, time); None if they are not masked."""
    if not model.step_options.document_masking:
        return None
    if model.tokenizer is None:
        raise ValueError(
            "document_masking=True, but the model has tokenizer=None. The end token of "
            "the tokenizer tells documents apart. Set `model.tokenizer` first."
        )
    return document_ids(batch.token_ids, model.tokenizer.end_token_id)


def _last_states(model: Any, batch: Batch, segment_ids: Any, *, training: bool) -> Any:
    """Returns the last hidden states of a batch, (batch, time, width)."""
    _, states = model(
        batch.token_ids,
        segment_ids=segment_ids,
        num_logits=0,
        return_hidden_states=True,
        training=training,
    )
    return states[-1]


def _rows(values: Any) -> Any:
    """(batch, time, size) → (batch × time, size)."""
    return ops.reshape(values, (-1, values.shape[-1]))


def _table(model: Any, states: Any) -> Any:
    """Returns the token embeddings in the dtype of hidden states, (vocab, width)."""
    return ops.cast(model.token_embedding.embeddings, states.dtype)


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
        Tensors `(count, rows, time, …)`.
    """

    def split(values: Any, padding: int = 0) -> Any:
        size, time, *others = ops.shape(values)
        rows = -(-size // count)
        missing = rows * count - size
        padded = ((0, missing), *[(0, 0)] * (1 + len(others)))
        values = ops.pad(values, padded, constant_values=padding)
        axes = (1, 0, *range(2, 3 + len(others)))
        return ops.transpose(ops.reshape(values, (rows, count, time, *others)), axes)

    targets = ops.cast(batch.targets, "int32")
    return Batch(
        split(batch.token_ids),
        split(targets, IGNORED_TARGET),
        split(batch.weights),
        *(None if values is None else split(values) for values in batch[3:]),
    )


def micro_batch(batches: Batch, index: Any) -> Batch:
    """Returns one of `micro_batches`."""
    return Batch(*(None if values is None else values[index] for values in batches))


def mean_loss(total: Any, weight_sum: Any) -> Any:
    """Returns the mean of losses from their sum and that of the weights; 0 if that is 0."""
    return ops.where(weight_sum > 0, total / ops.where(weight_sum > 0, weight_sum, 1.0), 0.0)


def update_metrics_by_states(model: Any, states: Any, batch: Batch) -> None:
    """Updates compiled metrics, which few models have, with all the logits."""
    if len(model.metrics) == num_losses(model):
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


def track_loss(model: Any, sums: Any, weight_sum: Any) -> None:
    """Updates the metrics of the losses with their sums and the sum of the weights."""
    trackers = [loss_tracker(model), model.cross_entropy_tracker][: num_losses(model)]
    for index, tracker in enumerate(trackers):
        tracker.update_state(mean_loss(sums[index], weight_sum), sample_weight=weight_sum)


def unscaled_norm(optimizer: Any, norm: Any) -> Any:
    """Returns the norm of the gradients without the scale of the loss."""
    return norm / ops.cast(optimizer.scale_loss(1.0), norm.dtype)
