"""The loss of training: cross entropy of the next token."""

import inspect
from typing import Any

import keras
from keras import ops

from gpt2_keras.data.batch_plan import IGNORED_TARGET


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
