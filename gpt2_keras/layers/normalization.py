"""The layer normalization of GPT-2."""

from typing import Any

import keras

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
