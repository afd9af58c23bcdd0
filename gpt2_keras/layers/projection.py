"""The dense layer of every linear map, its kernel laid out for decoding a few rows."""

from typing import Any

import keras
import numpy as np
from keras import ops

from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.layers.kernels.portable import open_sizes
from gpt2_keras.private_api.keras import raw_kernel


@keras.saving.register_keras_serializable(package="gpt2_keras")
class Projection(keras.layers.EinsumDense):
    """A dense layer whose kernel is `(units, width)`; see `TensorFlowKernels.multiply`.

    An `EinsumDense` in all else, so `enable_lora` works. Keras' `quantize` does not: it takes
    kernels as (width, units).

    Args:
        units: Size of the output.

    Call arguments:
        inputs: Float tensor `(batch, time, width)`.

    Returns:
        Float tensor `(batch, time, units)`.

    Example:
        >>> Projection(3)(np.zeros((1, 6, 2), "float32")).shape
        TensorShape([1, 6, 3])
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__("abc,dc->abd", output_shape=(None, units), bias_axes="d", **kwargs)
        self.units = units

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Multiplies and adds the bias; see the class."""
        batch, time, width = ops.shape(inputs)
        rows = ops.reshape(inputs, (-1, width))  # (batch × time, width)
        outputs = current_kernels().multiply(rows, self.kernel, training)
        outputs = ops.add(outputs, self.bias)  # (batch × time, units)
        return ops.reshape(outputs, (*open_sizes(batch, time), self.units))

    def merged_kernel(self) -> np.ndarray:
        """Returns the kernel with what LoRA has added to it, float32 `(units, width)`.

        The property `kernel` rounds the sum to the compute dtype.
        """
        kernel = np.asarray(raw_kernel(self).value, dtype="float32")
        if not self.lora_enabled:
            return kernel
        scale = self.lora_alpha / self.lora_rank
        return kernel + scale * np.matmul(
            *map(np.asarray, (self.lora_kernel_a, self.lora_kernel_b))
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the layer."""
        config = super().get_config()
        for fixed in ("equation", "output_shape", "bias_axes"):
            config.pop(fixed)
        return {**config, "units": self.units}
