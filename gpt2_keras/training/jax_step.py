"""The steps of training and evaluation on JAX, which sums over devices by itself.

Keras hands the values of all variables to a step and takes new ones from it; a scope gives
them to the model.
"""

from typing import Any

import jax
import keras
from keras import ops

from gpt2_keras.training import batch_loss
from gpt2_keras.training.batch_loss import Batch
from gpt2_keras.training.optimizer import global_norm


def train_step(model: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    """Returns the logs of one batch, and the state with the weights updated.

    Args:
        model: A compiled `GPT2LM`.
        state: The values of its trainable, its other, the optimizer's and the metrics'
            variables.
        data: Token ids, targets and perhaps sample weights, each `(batch, time)`.

    Returns:
        The metrics with the norm of the gradients before clipping as `gradient_norm`, and the
        new state.
    """
    trainable, others, optimizer_state, metrics = state
    batch = batch_loss.unpack(data)
    weight_sum = ops.sum(batch.weights)

    def loss_of(trainable: Any, others: Any, metrics: Any, batch: Batch) -> Any:
        with _with_state(model, trainable, others, metrics, optimizer_state):
            sums, states = batch_loss.loss_sum(model, batch, training=True)
            loss = model.optimizer.scale_loss(batch_loss.mean_loss(sums[0], weight_sum))
            batch_loss.update_metrics_by_states(model, states, batch)
            others = _values(model.non_trainable_variables)
            return loss, (sums, others, _values(model.metrics_variables))

    def add(so_far: Any, batch: Batch) -> tuple[Any, None]:
        gradients, sums, others, metrics = so_far
        gradients_of = jax.grad(loss_of, has_aux=True)
        new, (losses, others, metrics) = gradients_of(trainable, others, metrics, batch)
        gradients = jax.tree.map(jax.numpy.add, gradients, new)
        return (gradients, sums + losses, others, metrics), None

    steps = model.step_options.accumulation_steps
    zeros = jax.tree.map(jax.numpy.zeros_like, trainable)
    start = (zeros, jax.numpy.zeros((batch_loss.num_losses(model),)), others, metrics)
    if steps == 1:
        (gradients, sums, others, metrics), _ = add(start, batch)
    else:
        batches = batch_loss.micro_batches(batch, steps)  # (steps, rows, time)
        (gradients, sums, others, metrics), _ = jax.lax.scan(add, start, batches)
    with _with_state(model, trainable, others, metrics, optimizer_state):
        norm = batch_loss.unscaled_norm(model.optimizer, global_norm(gradients))
    apply = model.optimizer.stateless_apply
    trainable, optimizer_state = apply(optimizer_state, gradients, trainable)
    with _with_state(model, trainable, others, metrics):
        batch_loss.track_loss(model, sums, weight_sum)
        logs = {**model.get_metrics_result(), "gradient_norm": norm}
        metrics = _values(model.metrics_variables)
    return logs, (trainable, others, optimizer_state, metrics)


def test_step(model: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    """Returns the metrics with one batch added, and the state with them updated."""
    trainable, others, metrics = state
    batch = batch_loss.unpack(data)
    with _with_state(model, trainable, others, metrics):
        sums, states = batch_loss.loss_sum(model, batch, training=False)
        batch_loss.update_metrics_by_states(model, states, batch)
        batch_loss.track_loss(model, sums, ops.sum(batch.weights))
        logs = model.get_metrics_result()
        others = _values(model.non_trainable_variables)
        metrics = _values(model.metrics_variables)
    return logs, (trainable, others, metrics)


def _with_state(
    model: Any, trainable: Any, others: Any, metrics: Any, optimizer_state: Any = ()
) -> Any:
    """Returns a scope in which the variables of a model have the given values."""
    pairs = [
        *zip(model.trainable_variables, trainable, strict=True),
        *zip(model.non_trainable_variables, others, strict=True),
        *zip(model.metrics_variables, metrics, strict=True),
        *zip(model.optimizer.variables if optimizer_state else (), optimizer_state, strict=True),
    ]
    return keras.StatelessScope(state_mapping=pairs)


def _values(variables: Any) -> list[Any]:
    """Returns the values that variables have in the current scope."""
    return [variable.value for variable in variables]
