"""What a backend or runtime does in its own way, behind one set of names.

The layers hold the formulas. Where TensorFlow, JAX or LiteRT has a faster way to the same
numbers, a method of `Kernels` (portable.py) is overridden in tensorflow.py, jax.py or litert.py.
Every layer has its kernels from the moment it is made; only an export to LiteRT changes them.
"""

import contextlib
import functools
from collections.abc import Iterator

import keras

from gpt2_keras.layers.kernels.portable import Kernels
from gpt2_keras.private_api.keras import all_layers


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


def default_kernels() -> Kernels:
    """Returns the kernels of the backend that Keras runs on."""
    return kernels_of(keras.backend.backend())


@contextlib.contextmanager
def using_kernels(model: keras.Model, kernels: Kernels) -> Iterator[None]:
    """Gives all layers of a model other kernels while the block runs, to trace an export."""
    layers = [layer for layer in all_layers(model) if hasattr(layer, "kernels")]
    before = [layer.kernels for layer in layers]
    try:
        for layer in layers:
            layer.kernels = kernels
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.kernels = own
