"""The steps of training and evaluation on JAX, which sums over devices by itself.

Keras hands the values of all variables to a step and takes new ones from it; a scope gives
them to the model.
"""

from typing import Any

import jax
import keras
from keras import ops

from gpt2_keras.training.batch_loss import (
    Batch,
    loss_sum,
    mean_loss,
    micro_batches,
    track_loss,
    unpack,
    unscaled_norm,
    update_metrics,
)
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
    batch = unpack(data)
    weight_sum = ops.sum(batch.weights)

    def loss_of(trainable: Any, others: Any, metrics: Any, batch: Batch) -> Any:
        with _with_state(model, trainable, others, metrics, optimizer_state) as scope:
            total, states = loss_sum(model, batch, training=True)
            loss = model.optimizer.scale_loss(mean_loss(total, weight_sum))
            update_metrics(model, states, batch)
            others = _values(scope, model.non_trainable_variables)
            return loss, (total, others, _values(scope, model.metrics_variables))

    def add(so_far: Any, batch: Batch) -> tuple[Any, None]:
        gradients, total, others, metrics = so_far
        new, (loss, others, metrics) = jax.grad(loss_of, has_aux=True)(
            trainable, others, metrics, batch
        )
        gradients = jax.tree.map(jax.numpy.add, gradients, new)
        return (gradients, total + loss, others, metrics), None

    steps = model.step_options.accumulation_steps
    zeros = jax.tree.map(jax.numpy.zeros_like, trainable)
    start = (zeros, jax.numpy.zeros(()), others, metrics)
    if steps == 1:
        (gradients, total, others, metrics), _ = add(start, batch)
    else:
        batches = micro_batches(batch, steps)  # (steps, rows, time)
        (gradients, total, others, metrics), _ = jax.lax.scan(add, start, batches)
    with _with_state(model, trainable, others, metrics, optimizer_state):
        norm = unscaled_norm(model.optimizer, global_norm(gradients))
    trainable, optimizer_state = model.optimizer.stateless_apply(
        optimizer_state, gradients, trainable
    )
    with _with_state(model, trainable, others, metrics) as scope:
        track_loss(model, total, weight_sum)
        logs = {**model.get_metrics_result(), "gradient_norm": norm}
        metrics = _values(scope, model.metrics_variables)
    return logs, (trainable, others, optimizer_state, metrics)


def test_step(model: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    """Returns the metrics with one batch added, and the state with them updated."""
    trainable, others, metrics = state
    batch = unpack(data)
    with _with_state(model, trainable, others, metrics) as scope:
        total, states = loss_sum(model, batch, training=False)
        update_metrics(model, states, batch)
        track_loss(model, total, ops.sum(batch.weights))
        logs = model.get_metrics_result()
        others = _values(scope, model.non_trainable_variables)
        metrics = _values(scope, model.metrics_variables)
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


def _values(scope: Any, variables: Any) -> list[Any]:
    """Returns the values that variables have at the end of a scope."""
    values = [scope.get_current_value(variable) for variable in variables]
    return [
        variable.value if value is None else value
        for variable, value in zip(variables, values, strict=True)
    ]
