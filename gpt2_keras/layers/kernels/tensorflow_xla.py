"""TensorFlow's kernels for graphs that XLA compiles whole, on a CPU."""

from typing import Any

import tensorflow as tf

from gpt2_keras.layers.kernels.xla import XlaKernels
from gpt2_keras.private_api.tensorflow import optimization_barrier


class TensorFlowXlaKernels(XlaKernels):
    """See `Kernels`."""

    def barrier(self, x: Any) -> Any:
        """TensorFlow's op for XLA."""
        return optimization_barrier(x)

    def times_transposed(self, a: Any, b: Any) -> Any:
        """`a × bᵀ` without making `bᵀ`."""
        return tf.matmul(a, b, transpose_b=True)
