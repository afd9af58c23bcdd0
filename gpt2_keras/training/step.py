"""One step of training with the default loss: what `GPT2LM.fit` runs for every batch.

A batch is trained on in parts if asked; the gradients of the parts, and those of all
replicas, add up to the gradient of the mean over all tokens of the whole batch, and only
then are they clipped and applied. So neither the number of parts nor that of devices
changes what is learned, whatever the padding.

The last hidden states go to `cross_entropy_sum`, which never holds all logits.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from gpt2_keras.private_api import in_multi_worker_mode, loss_tracker, without_gradient_sum
from gpt2_keras.training.loss import cross_entropy_sum, is_default_loss, token_weights
from gpt2_keras.training.optimizer import global_norm


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """How a step goes about a batch; see `GPT2LM.compile`.

    Raises:
        TypeError: If `accumulation_steps` is not an integer.
        ValueError: If it is below 1.
    """

    accumulation_steps: int = 1
    remat: bool = False
    document_masking: bool = False

    def __post_init__(self) -> None:
        steps = self.accumulation_steps
        if isinstance(steps, bool) or not isinstance(steps, int):
            raise TypeError(
                "`accumulation_steps` must be an integer. "
                f"Received: accumulation_steps={steps!r}. Use 1 for a batch in one part."
            )
        if steps < 1:
            raise ValueError(
                "`accumulation_steps` must be at least 1. "
                f"Received: accumulation_steps={steps}. Use 1 for a batch in one part."
            )

    def check(self, model: Any) -> None:
        """Raises ValueError if a compiled model cannot train so."""
        if self.accumulation_steps > 1 and not has_default_loss(model):
            raise ValueError(
                "Only the default loss is computed in parts. "
                f"Received: accumulation_steps={self.accumulation_steps}, loss={model.loss!r}. "
                'Use loss="auto", or `gradient_accumulation_steps` of a Keras optimizer.'
            )
        if self.document_masking and not has_default_loss(model):
            raise ValueError(
                "Only the step with the default loss keeps documents apart. "
                f"Received: document_masking=True, loss={model.loss!r}. "
                'Use loss="auto", without `loss_weights` or regularizers.'
            )


def has_default_loss(model: Any) -> bool:
    """Returns whether a compiled model minimises the loss of `make_loss` and nothing else."""
    overridden = type(model).compute_loss is not keras.Model.compute_loss
    weighed = getattr(model, "_weighs_loss", False)
    return is_default_loss(model.loss) and not (overridden or weighed or model.losses)


def step_of(model: Any, kind: str) -> Callable[..., Any] | None:
    """Returns the function of a step, or None where Keras' own is to be used.

    Args:
        model: A compiled `GPT2LM`.
        kind: `"train"` or `"test"`.
    """
    steps: dict[tuple[str, str], Callable[..., Any]] = {
        ("tensorflow", "train"): _train_on_tensorflow,
        ("tensorflow", "test"): _test,
        ("jax", "train"): _train_on_jax,
        ("jax", "test"): _test_on_jax,
    }
    return steps.get((keras.backend.backend(), kind)) if has_default_loss(model) else None


def _train_on_tensorflow(model: Any, data: Any) -> dict[str, Any]:
    import tensorflow as tf

    token_ids, targets, weights = _unpack(data)
    several = _num_replicas() > 1
    count = _over_replicas(ops.sum(weights))
    variables = model.trainable_weights

    def part(token_ids: Any, targets: Any, weights: Any) -> tuple[list[Any], Any]:
        with tf.GradientTape() as tape:
            total, states = _loss_sum(model, token_ids, targets, weights, training=True)
            loss = model.optimizer.scale_loss(_share(total, count))
        zero = tf.UnconnectedGradients.ZERO
        _update_metrics(model, states, targets, weights)
        return tape.gradient(loss, variables, unconnected_gradients=zero), total

    gradients, total = _add_up(model, part, (token_ids, targets, weights))
    summed: Any = contextlib.nullcontext()
    if several:
        gradients = _over_replicas([tf.convert_to_tensor(gradient) for gradient in gradients])
        summed = without_gradient_sum(model.optimizer)
    norm = _unscaled(model.optimizer, global_norm(gradients))
    with summed:
        model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    _track_loss(model, _over_replicas(total), count)
    return _for_workers({**model.get_metrics_result(), "gradient_norm": norm})


def _test(model: Any, data: Any) -> Any:
    token_ids, targets, weights = _unpack(data)
    total, states = _loss_sum(model, token_ids, targets, weights, training=False)
    _update_metrics(model, states, targets, weights)
    _track_loss(model, _over_replicas(total), _over_replicas(ops.sum(weights)))
    return _for_workers(model.get_metrics_result())


def _train_on_jax(model: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    import jax

    trainable, others, optimizer_state, metrics = state
    batch = _unpack(data)
    count = ops.sum(batch[2])

    def loss_of(trainable: Any, others: Any, metrics: Any, part: Any) -> Any:
        with _with_state(model, trainable, others, metrics, optimizer_state) as scope:
            total, states = _loss_sum(model, *part, training=True)
            loss = model.optimizer.scale_loss(_share(total, count))
            _update_metrics(model, states, *part[1:])
            return loss, (total, _values(scope, model.non_trainable_variables),
                          _values(scope, model.metrics_variables))  # fmt: skip

    def part_of(so_far: Any, part: Any) -> tuple[Any, None]:
        gradients, total, others, metrics = so_far
        slope_of = jax.grad(loss_of, has_aux=True)
        slopes, (some, others, metrics) = slope_of(trainable, others, metrics, part)
        gradients = jax.tree.map(jax.numpy.add, gradients, slopes)
        return (gradients, total + some, others, metrics), None

    steps = model.step_options.accumulation_steps
    zeros = jax.tree.map(jax.numpy.zeros_like, trainable)
    start = (zeros, jax.numpy.zeros(()), others, metrics)
    if steps == 1:
        (gradients, total, others, metrics), _ = part_of(start, batch)
    else:
        parts = [_cut(values, steps) for values in batch]
        (gradients, total, others, metrics), _ = jax.lax.scan(part_of, start, parts)
    with _with_state(model, trainable, others, metrics, optimizer_state):
        norm = _unscaled(model.optimizer, global_norm(gradients))
    trainable, optimizer_state = model.optimizer.stateless_apply(
        optimizer_state, gradients, trainable
    )
    with _with_state(model, trainable, others, metrics) as scope:
        _track_loss(model, total, count)
        logs = {**model.get_metrics_result(), "gradient_norm": norm}
        metrics = _values(scope, model.metrics_variables)
    return logs, (trainable, others, optimizer_state, metrics)


def _test_on_jax(model: Any, state: Any, data: Any) -> tuple[Any, Any]:
    trainable, others, metrics = state
    with _with_state(model, trainable, others, metrics) as scope:
        logs = _test(model, data)
        others = _values(scope, model.non_trainable_variables)
        metrics = _values(scope, model.metrics_variables)
    return logs, (trainable, others, metrics)


def _unpack(data: Any) -> tuple[Any, Any, Any]:
    """Returns token ids, targets and weights, each `(batch, time)`."""
    token_ids, targets, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    return token_ids, targets, token_weights(targets, sample_weight)


def _loss_sum(
    model: Any, token_ids: Any, targets: Any, weights: Any, *, training: bool
) -> tuple[Any, Any]:
    """Returns the sum of the losses, float32 `()`, and the last hidden states."""
    segments = None
    if model.step_options.document_masking:
        if model.tokenizer is None:
            raise ValueError(
                "Documents are told apart by the end token of a tokenizer. "
                "Received: document_masking=True, a model with tokenizer=None. "
                "Set `model.tokenizer` first."
            )
        segments = document_numbers(token_ids, model.tokenizer.end_token_id)
    _, states = model(
        token_ids,
        segment_ids=segments,
        num_logits=0,
        return_hidden_states=True,
        training=training,
    )
    states = states[-1]  # (batch, time, width)
    table = ops.cast(model.token_embedding.embeddings, states.dtype)
    rows = ops.reshape(states, (-1, states.shape[-1]))
    flat = (ops.reshape(values, (-1,)) for values in (targets, weights))
    return cross_entropy_sum(rows, table, *flat), states


def document_numbers(token_ids: Any, end_token_id: int) -> Any:
    """Returns which document each token is in: int32 `(batch, time)`, from 0 in each row.

    An end token belongs to the document that it ends.

    Example:
        >>> document_numbers(np.array([[5, 9, 5, 5, 9]]), 9).numpy().tolist()
        [[0, 0, 1, 1, 1]]
    """
    ends = ops.cast(ops.equal(token_ids, end_token_id), "int32")
    return ops.cumsum(ends, axis=1) - ends


def _num_replicas() -> int:
    """Returns how many replicas of `tf.distribute` take this step together."""
    if keras.backend.backend() != "tensorflow":  # JAX sums over devices by itself
        return 1
    import tensorflow as tf

    replicas = tf.distribute.get_replica_context()
    return 1 if replicas is None else int(replicas.num_replicas_in_sync)


def _over_replicas(values: Any) -> Any:
    """Returns the sum over all replicas of a tensor, or of each in a list."""
    if _num_replicas() == 1:
        return values
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def _for_workers(logs: dict[str, Any]) -> dict[str, Any]:
    """Returns logs as Keras takes the mean of them over workers: along an axis."""
    if keras.backend.backend() != "tensorflow":
        return logs
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    workers = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if not (workers and in_multi_worker_mode(strategy)):
        return logs
    return {name: ops.reshape(value, (1,)) for name, value in logs.items()}


def _track_loss(model: Any, total: Any, count: Any) -> None:
    """Gives the mean over all replicas to the metric of each, so that all say the same."""
    loss_tracker(model).update_state(_share(total, count), sample_weight=count)


def _update_metrics(model: Any, states: Any, targets: Any, weights: Any) -> None:
    """Gives compiled metrics, which few use, all the logits that they want."""
    if len(model.metrics) == 1:  # the loss
        return
    logits = ops.cast(model.token_embedding(states, reverse=True), "float32")
    model.compute_metrics(None, targets, logits, sample_weight=weights)


def _add_up(model: Any, part: Callable[..., Any], batch: Any) -> tuple[list[Any], Any]:
    """Returns the gradients of all parts of a batch, and the sum of its losses."""
    import tensorflow as tf

    steps = model.step_options.accumulation_steps
    if steps == 1:
        gradients, total = part(*batch)
        return gradients, total
    parts = [_cut(values, steps) for values in batch]

    def add(index: Any, gradients: Any, total: Any) -> Any:
        slopes, some = part(*(values[index] for values in parts))
        slopes = [tf.convert_to_tensor(slope) for slope in slopes]
        gradients = [old + new for old, new in zip(gradients, slopes, strict=True)]
        return index + 1, gradients, total + some

    zeros = [tf.zeros(weight.shape, weight.dtype) for weight in model.trainable_weights]
    _, gradients, total = tf.while_loop(
        lambda index, *_: index < steps, add, (0, zeros, tf.zeros(())), parallel_iterations=1
    )
    return gradients, total


def _cut(values: Any, count: int) -> Any:
    """(batch, time) → (count, rows, time); missing rows are zeros, so of no weight.

    A part has every `count`-th row, and so, where JAX has cut a batch over devices, as many
    of each device.
    """
    batch, time = ops.shape(values)
    rows = -(-batch // count)
    values = ops.pad(values, ((0, rows * count - batch), (0, 0)))
    return ops.transpose(ops.reshape(values, (rows, count, time)), (1, 0, 2))


def _share(total: Any, count: Any) -> Any:
    """Returns the mean, 0 of nothing."""
    return ops.where(count > 0, total / ops.where(count > 0, count, 1.0), 0.0)


def _unscaled(optimizer: Any, norm: Any) -> Any:
    """Returns the norm of the gradients without the scale of the loss."""
    return norm / ops.cast(optimizer.scale_loss(1.0), norm.dtype)


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
    """Returns what the variables have become in a scope."""
    values = [scope.get_current_value(variable) for variable in variables]
    return [
        variable.value if value is None else value
        for variable, value in zip(variables, values, strict=True)
    ]
