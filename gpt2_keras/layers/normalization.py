"""The layer normalization of GPT-2."""

from typing import Any

import keras
from keras import ops

from gpt2_keras.layers.activations import is_observed, observe
from gpt2_keras.layers.initializers import LAYER_NORM_EPSILON
from gpt2_keras.layers.kernels import current_kernels


@keras.saving.register_keras_serializable(package="gpt2_keras")
class LayerNorm(keras.layers.LayerNormalization):
    """Keras' layer normalization with GPT-2's epsilon.

    Source: `norm` in openai/gpt-2 `src/model.py`.

    Call arguments:
        inputs: Float tensor `(batch, time, width)`.

    Returns:
        Float tensor `(batch, time, width)`.

    Example:
        >>> LayerNorm()(np.array([[[1.0, 3.0]]], "float32")).numpy().round(3).tolist()
        [[[-1.0, 1.0]]]
    """

    def __init__(self, epsilon: float = LAYER_NORM_EPSILON, **kwargs: Any) -> None:
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Normalizes; see the class."""
        fused = current_kernels().layer_norm(training)
        is_plain = self.center and self.scale and self.axis in (-1, [-1])
        if fused is None or not is_plain:
            return super().call(inputs)
        return fused(inputs, self.gamma, self.beta, self.epsilon)


def normalize(norm: LayerNorm, x: Any, name: str) -> Any:
    """Returns a norm's output, with the activations `hook_scale` and `hook_normalized`.

    Args:
        norm: The layer.
        x: Float tensor `(batch, time, width)`.
        name: What stands before the names of the two.

    Returns:
        Float tensor `(batch, time, width)`.
    """
    outputs = norm(x)
    if is_observed((f"{name}.hook_scale",)):
        variance = ops.var(ops.cast(x, "float32"), axis=-1, keepdims=True)
        scale = ops.sqrt(variance + norm.epsilon)  # (batch, time, 1)
        if (changed := observe(f"{name}.hook_scale", scale)) is not scale:
            factor = ops.cast(scale / changed, outputs.dtype)
            beta = ops.cast(norm.beta, outputs.dtype)
            outputs = (outputs - beta) * factor + beta
    return observe(f"{name}.hook_normalized", outputs)
