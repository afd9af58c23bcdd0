"""The steps of training and evaluation on TensorFlow, on one device or several replicas."""

import contextlib
from typing import Any

import tensorflow as tf
from keras import ops

from gpt2_keras.private_api.keras import without_gradient_sum
from gpt2_keras.private_api.tensorflow import in_multi_worker_mode
from gpt2_keras.training import batch_loss
from gpt2_keras.training.batch_loss import Batch
from gpt2_keras.training.optimizer import global_norm


def train_step(model: Any, data: Any) -> dict[str, Any]:
    """Updates the weights of a compiled `GPT2LM` by one batch.

    Args:
        model: The model.
        data: Token ids, targets and perhaps sample weights, each `(batch, time)`.

    Returns:
        The metrics, and the norm of the gradients before clipping as `gradient_norm`.
    """
    batch = batch_loss.unpack(data)
    weight_sum = _sum_over_replicas(ops.sum(batch.weights))
    gradients, sums = _gradients(model, batch, weight_sum)
    summed: Any = contextlib.nullcontext()
    if _num_replicas() > 1:
        gradients = _sum_over_replicas([tf.convert_to_tensor(each) for each in gradients])
        summed = without_gradient_sum(model.optimizer)
    norm = batch_loss.unscaled_norm(model.optimizer, global_norm(gradients))
    with summed:
        model.optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
    # Each replica tracks the loss of all, so that all report the same.
    batch_loss.track_loss(model, _sum_over_replicas(sums), weight_sum)
    return _for_workers({**model.get_metrics_result(), "gradient_norm": norm})


def test_step(model: Any, data: Any) -> dict[str, Any]:
    """Returns the metrics with one batch added."""
    batch = batch_loss.unpack(data)
    sums, states = batch_loss.loss_sum(model, batch, training=False)
    batch_loss.update_metrics_by_states(model, states, batch)
    weight_sum = _sum_over_replicas(ops.sum(batch.weights))
    batch_loss.track_loss(model, _sum_over_replicas(sums), weight_sum)
    return _for_workers(model.get_metrics_result())


def _gradients(model: Any, batch: Batch, weight_sum: Any) -> tuple[list[Any], Any]:
    """Returns the gradients of all micro-batches, added up, and the sums of the losses."""
    steps = model.step_options.accumulation_steps
    if steps == 1:
        return _micro_batch_gradients(model, batch, weight_sum)
    batches = batch_loss.micro_batches(batch, steps)  # (steps, rows, time)

    def add(index: Any, gradients: Any, sums: Any) -> Any:
        micro_batch = batch_loss.micro_batch(batches, index)
        new, losses = _micro_batch_gradients(model, micro_batch, weight_sum)
        new = [tf.convert_to_tensor(gradient) for gradient in new]
        gradients = [old + each for old, each in zip(gradients, new, strict=True)]
        return index + 1, gradients, sums + losses

    zeros = [tf.zeros(variable.shape, variable.dtype) for variable in model.trainable_weights]
    no_losses = tf.zeros((batch_loss.num_losses(model),))
    _, gradients, sums = tf.while_loop(
        lambda index, *_: index < steps, add, (0, zeros, no_losses), parallel_iterations=1
    )
    return gradients, sums


def _micro_batch_gradients(model: Any, batch: Batch, weight_sum: Any) -> tuple[list[Any], Any]:
    """Returns the gradients of the loss sum over `weight_sum`, scaled, and the loss sums."""
    with tf.GradientTape() as tape:
        sums, states = batch_loss.loss_sum(model, batch, training=True)
        loss = model.optimizer.scale_loss(batch_loss.mean_loss(sums[0], weight_sum))
    batch_loss.update_metrics_by_states(model, states, batch)
    zero = tf.UnconnectedGradients.ZERO
    return tape.gradient(loss, model.trainable_weights, unconnected_gradients=zero), sums


def _num_replicas() -> int:
    """Returns how many replicas of `tf.distribute` take this step together."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else int(context.num_replicas_in_sync)


def _sum_over_replicas(values: Any) -> Any:
    """Returns the sum over all replicas of a tensor, or of each in a list."""
    if _num_replicas() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def _for_workers(logs: dict[str, Any]) -> dict[str, Any]:
    """Returns logs with the axis along which Keras takes their mean over workers."""
    strategy = tf.distribute.get_strategy()
    is_multi_worker = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if not (is_multi_worker and in_multi_worker_mode(strategy)):
        return logs
    return {name: ops.reshape(value, (1,)) for name, value in logs.items()}
