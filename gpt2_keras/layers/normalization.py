"""GPT-2's norm."""

from typing import Any

import keras

from gpt2_keras.layers import fused
from gpt2_keras.layers.initializers import LAYER_NORM_EPSILON


@keras.saving.register_keras_serializable(package="gpt2_keras")
class LayerNorm(keras.layers.LayerNormalization):
    """Keras' layer normalisation with GPT-2's epsilon, in one pass where it trains.

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
        """Normalises; see the class."""
        usual = self.center and self.scale and self.axis in (-1, [-1])
        if not (usual and fused.is_fusing(training)):
            return super().call(inputs)
        return fused.layer_norm(inputs, self.gamma, self.beta, self.epsilon)
