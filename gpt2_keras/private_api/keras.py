"""Private names of Keras."""

import collections
import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import keras

ModelClass = TypeVar("ModelClass", bound=type)


def without_symbolic_build(model_class: ModelClass) -> ModelClass:
    """Keeps `fit` from running a model on symbolic inputs first, to build what is not built.

    For models whose weights exist at once. Keras' own build fails where several workers train.
    """
    model_class._maybe_symbolic_build = lambda *_args, **_kwargs: None  # type: ignore[attr-defined]
    return model_class


def build_metrics(model: keras.Model, vocab_size: int) -> None:
    """Builds the compiled metrics of a language model, which Keras would do in the first step."""
    if model._compile_metrics is not None:
        logits = keras.KerasTensor((None, None, vocab_size))
        model._compile_metrics.build(keras.KerasTensor((None, None), "int32"), logits)


def build_loss(model: keras.Model, vocab_size: int) -> None:
    """Builds the compiled loss of a language model, as `build_metrics` does the metrics.

    On JAX Keras would run the model on symbolic inputs for that, which may be a dictionary.
    """
    logits = keras.KerasTensor((None, None, vocab_size))
    model._compile_loss.build(keras.KerasTensor((None, None), "int32"), logits)


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns a model and all layers inside it."""
    return list(model._flatten_layers())


def update_metrics(
    model: keras.Model, targets: Any, logits: Any, counted: Any, weights: Any
) -> None:
    """Updates the compiled metrics, of which Keras gives weights to `weighted_metrics` only.

    Args:
        model: A compiled model.
        targets: Int tensor `(batch, time)`.
        logits: Float tensor `(batch, time, vocab)`.
        counted: Float tensor `(batch, time)`: 1 where `metrics` count, else 0.
        weights: Float tensor `(batch, time)`: the weights of `weighted_metrics`.
    """
    compiled = model._compile_metrics
    if compiled is None:
        return
    if not compiled.built:
        compiled.build(targets, logits)
    for metrics, sample_weight in (
        (compiled._flat_metrics, counted),
        (compiled._flat_weighted_metrics, weights),
    ):
        for metric in filter(None, metrics):
            metric.update_state(targets, logits, sample_weight)


def loss_tracker(model: keras.Model) -> keras.metrics.Mean:
    """Returns the metric that is reported as `loss`."""
    return model._loss_tracker


def raw_kernel(layer: keras.layers.EinsumDense) -> keras.Variable:
    """Returns the variable of a kernel; the property `kernel` adds LoRA to it and rounds."""
    return layer._kernel


def remove_weights(layer: keras.layers.Layer, variables: Iterable[keras.Variable]) -> None:
    """Takes weights away from a built layer, as Keras' own `quantize` does."""
    layer._tracker.unlock()
    for variable in variables:
        layer._untrack_variable(variable)
    layer._tracker.lock()


def averaged_weights(
    optimizer: keras.optimizers.Optimizer,
) -> list[tuple[keras.Variable, keras.Variable]]:
    """Returns the weights, each with its moving average, of an optimizer with `use_ema=True`."""
    averages = optimizer._model_variables_moving_average
    return list(zip(optimizer._trainable_variables, averages, strict=True))


class AdamWSteps(keras.optimizers.AdamW):
    """Keras' AdamW, the private steps of its update under public names, to be overridden."""

    def add_state(self, name: str, value: Any) -> keras.Variable:
        """Returns a new int32 variable of the optimizer's state, which is saved with it."""
        variable = keras.Variable(
            value, name=name, dtype="int32", trainable=False, aggregation="only_first_replica"
        )
        self._track_variable(variable)
        return variable

    def current_learning_rate(self) -> Any:
        """Returns the learning rate of the next step."""
        return super()._get_current_learning_rate()

    def has_weight_decay(self, variable: Any) -> bool:
        """Returns whether a weight decays."""
        return bool(self.weight_decay) and self._use_weight_decay(variable)

    def moments(self, variable: Any) -> tuple[keras.Variable, keras.Variable]:
        """Returns the first and the second moment of a weight."""
        index = self._get_variable_index(variable)
        return self._momentums[index], self._velocities[index]

    def apply_weight_decay(self, variables: list[Any]) -> None:
        """Decays all weights."""
        super()._apply_weight_decay(variables)

    def clip_gradients(self, gradients: list[Any]) -> list[Any]:
        """Returns the clipped gradients."""
        return super()._clip_gradients(gradients)

    def update_weights(self, gradients: list[Any], variables: list[Any], rate: Any) -> None:
        """Updates all weights."""
        super()._backend_update_step(gradients, variables, rate)

    def _get_current_learning_rate(self) -> Any:
        return self.current_learning_rate()

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        self.apply_weight_decay(variables)

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        return self.clip_gradients(grads)

    def _backend_update_step(self, grads: list[Any], variables: list[Any], rate: Any) -> None:
        self.update_weights(grads, variables, rate)


_lock = threading.Lock()
_threads_inside: collections.Counter[int] = collections.Counter()  # by optimizer


@contextlib.contextmanager
def without_gradient_sum(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Keeps a Keras optimizer from summing gradients over replicas that are summed already."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    with _lock:  # every replica has a thread, and comes here
        _threads_inside[id(inner)] += 1
        inner._all_reduce_sum_gradients = lambda pairs: pairs
    try:
        yield
    finally:
        with _lock:
            _threads_inside[id(inner)] -= 1
            if not _threads_inside[id(inner)]:
                del inner._all_reduce_sum_gradients


def process_id(distribution: Any) -> int:
    """Returns the number of this process among those of a Keras distribution, from 0."""
    return int(distribution._process_id)


def train_writer(callback: keras.callbacks.TensorBoard) -> Any:
    """Returns the writer of the training's summaries, a `tf.summary.SummaryWriter`."""
    return callback._train_writer


@contextlib.contextmanager
def weights_kept_on_error(model: keras.Model) -> Iterator[None]:
    """Gives a model its variables back where an error ends a loop on JAX.

    For its loops Keras takes the values out of the variables, and gives back those of the last
    step. If the first batch of an epoch raises there are none, and the next use would make
    initial values anew without a word; `evaluate` and `predict` give nothing back at all.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    take, taken = model._get_jax_state, {}

    def take_and_keep(**kwargs: Any) -> Any:
        variables = [*model.variables, *model.non_trainable_variables, *model.metrics_variables]
        variables += getattr(getattr(model, "optimizer", None), "variables", [])
        taken.update({id(each): (each, each._value) for each in variables})
        return take(**kwargs)

    vars(model)["_get_jax_state"] = take_and_keep
    try:
        yield
    except BaseException:
        model.jax_state_sync()
        for variable, value in taken.values():
            if variable._value is None:
                variable._value = value
        raise
    finally:
        vars(model)["_get_jax_state"] = take
        model._jax_state = None
