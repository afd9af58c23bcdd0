"""Element-wise work of training in one pass over memory.

TensorFlow's CPU runs each operator of a formula by itself, reading and writing the whole
tensor every time, and its gradients keep what lies between. Here the forward and the
backward formula are each compiled by XLA into one loop, and only the inputs are kept. The
matrix products stay with TensorFlow, whose kernels are the faster ones.

Measured on 2 cores, forward and backward: GELU of (1024, 3072) in 12 ms instead of 43,
a norm of (1024, 768) in 12 ms instead of 20. JAX fuses by itself.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

GELU_SCALE = math.sqrt(2 / math.pi)  # openai/gpt-2 src/model.py, gelu()
GELU_CUBIC = 0.044715  # openai/gpt-2 src/model.py, gelu()


def is_fusing(training: bool | None) -> bool:
    """Returns whether layers should call the functions of this module."""
    return bool(training) and keras.backend.backend() == "tensorflow"


def gelu(x: Any) -> Any:
    """Returns the tanh form of GELU of a float tensor.

    Example:
        >>> gelu(ops.convert_to_tensor([1.0])).numpy().round(3).tolist()
        [0.841...]
    """
    import tensorflow as tf

    @tf.custom_gradient
    def run(x: Any) -> Any:
        return _compiled(_gelu)(x), lambda upstream: _compiled(_gelu_slope)(x, upstream)

    return run(tf.convert_to_tensor(x))


def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Returns the normalised last axis, scaled and shifted.

    Args:
        x: Float tensor `(…, width)`.
        gamma, beta: Float tensors `(width,)`.
        epsilon: Added to the variance.

    Returns:
        Float tensor like `x`; computed in float32 at least.

    Example:
        >>> ones = ops.ones(2)
        >>> layer_norm(ops.convert_to_tensor([[1.0, 3.0]]), ones, 0 * ones, 0.0).numpy().tolist()
        [[-1.0, 1.0]]
    """
    import tensorflow as tf

    @tf.custom_gradient
    def run(x: Any, gamma: Any, beta: Any) -> Any:
        def slope(upstream: Any) -> Any:
            return _compiled(_layer_norm_slope, epsilon)(x, gamma, beta, upstream)

        return _compiled(_layer_norm, epsilon)(x, gamma, beta), slope

    # Outside of graphs a custom gradient takes no variables.
    return run(x, *map(tf.convert_to_tensor, (gamma, beta)))


@functools.cache
def _compiled(function: Callable[..., Any], *constants: Any) -> Callable[..., Any]:
    """Returns a function that XLA compiles once for each shape."""
    import tensorflow as tf

    compiled: Callable[..., Any] = tf.function(
        lambda *tensors: function(*tensors, *constants), jit_compile=True, autograph=False
    )
    return compiled


def _wide(x: Any) -> Any:
    """Returns a tensor in float32, or in float64 if it is."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def _gelu(x: Any) -> Any:
    x32 = _wide(x)
    tanh = ops.tanh(GELU_SCALE * (x32 + GELU_CUBIC * x32 * x32 * x32))
    return ops.cast(0.5 * x32 * (1 + tanh), x.dtype)


def _gelu_slope(x: Any, upstream: Any) -> Any:
    x32 = _wide(x)
    tanh = ops.tanh(GELU_SCALE * (x32 + GELU_CUBIC * x32 * x32 * x32))
    inner = GELU_SCALE * (1 + 3 * GELU_CUBIC * x32 * x32)
    slope = 0.5 * (1 + tanh) + 0.5 * x32 * (1 - tanh * tanh) * inner
    return ops.cast(_wide(upstream) * slope, x.dtype)


def _normalised(x: Any, epsilon: float) -> tuple[Any, Any]:
    """Returns the normalised values and one over the standard deviations."""
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    inverse = ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + epsilon)
    return centred * inverse, inverse


def _layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    normal, _ = _normalised(_wide(x), epsilon)
    gamma, beta = map(_wide, (gamma, beta))
    return ops.cast(normal * gamma + beta, x.dtype)


def _layer_norm_slope(
    x: Any, gamma: Any, beta: Any, upstream: Any, epsilon: float
) -> tuple[Any, Any, Any]:
    normal, inverse = _normalised(_wide(x), epsilon)
    upstream = _wide(upstream)
    slope = upstream * _wide(gamma)  # of the normalised values
    along = normal * ops.mean(slope * normal, axis=-1, keepdims=True)
    x_slope = inverse * (slope - ops.mean(slope, axis=-1, keepdims=True) - along)
    rows = tuple(range(len(x.shape) - 1))
    return (
        ops.cast(x_slope, x.dtype),
        ops.cast(ops.sum(upstream * normal, axis=rows), gamma.dtype),
        ops.cast(ops.sum(upstream, axis=rows), beta.dtype),
    )
