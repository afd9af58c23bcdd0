"""What a backend or runtime does in its own way, behind one set of names.

The layers hold the formulas. Where TensorFlow, JAX or LiteRT has a faster way to the same
numbers, a method of `Kernels` (portable.py) is overridden in tensorflow.py, jax.py or litert.py,
or in xla.py for what XLA compiles whole. The backend decides, but for the graphs of an export to
LiteRT, and of generation with `jit_compile`.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import keras

from gpt2_keras.layers.kernels.portable import Kernels

_used: contextvars.ContextVar[Kernels | None] = contextvars.ContextVar("kernels", default=None)


@functools.cache
def kernels_of(backend: str) -> Kernels:
    """Returns the kernels of a Keras backend, by its name."""
    if backend == "tensorflow":
        from gpt2_keras.layers.kernels.tensorflow import TensorFlowKernels

        return TensorFlowKernels()
    if backend == "jax":
        from gpt2_keras.layers.kernels.jax import JaxKernels

        return JaxKernels()
    return Kernels()


def current_kernels() -> Kernels:
    """Returns what layers compute with: the kernels of the backend, or those of `using_kernels`."""
    return _used.get() or kernels_of(keras.backend.backend())


@contextlib.contextmanager
def using_kernels(kernels: Kernels) -> Iterator[None]:
    """Gives all layers other kernels while the block runs, in this thread: to trace a graph."""
    token = _used.set(kernels)
    try:
        yield
    finally:
        _used.reset(token)
