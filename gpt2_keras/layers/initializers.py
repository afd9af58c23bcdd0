"""How GPT-2's weights begin, and the one constant of its norms."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

LAYER_NORM_EPSILON = 1e-5  # openai/gpt-2 src/model.py, norm()
KERNEL_STDDEV = 0.02  # openai/gpt-2 src/model.py, conv1d(w_init_stdev=0.02)
TOKEN_EMBEDDING_STDDEV = 0.02  # openai/gpt-2 src/model.py, wte
POSITION_EMBEDDING_STDDEV = 0.01  # openai/gpt-2 src/model.py, wpe


_blank = ContextVar("blank", default=False)


@contextmanager
def uninitialized_weights() -> Iterator[None]:
    """Leaves the weights built inside the block undefined, for a model loaded next.

    Drawing them takes longer than reading them, and memory not written to costs nothing.
    """
    token = _blank.set(True)
    try:
        yield
    finally:
        _blank.reset(token)


class _Blank(keras.initializers.Initializer):
    """Whatever is in memory, on TensorFlow; elsewhere zeros."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        dtype = keras.backend.standardize_dtype(dtype)
        if keras.backend.backend() != "tensorflow":
            return ops.zeros(shape, dtype)
        import tensorflow as tf

        return tf.raw_ops.Empty(shape=shape, dtype=dtype)


def _normal(stddev: float) -> keras.initializers.Initializer:
    if _blank.get():
        return _Blank()
    return keras.initializers.RandomNormal(stddev=stddev)


def token_embedding_initializer() -> keras.initializers.Initializer:
    """Returns the initializer of the token embeddings."""
    return _normal(TOKEN_EMBEDDING_STDDEV)


def position_embedding_initializer() -> keras.initializers.Initializer:
    """Returns the initializer of learned position embeddings."""
    return _normal(POSITION_EMBEDDING_STDDEV)


def kernel_initializer() -> keras.initializers.Initializer:
    """Returns the initializer of a projection that reads the residual stream."""
    return _normal(KERNEL_STDDEV)


def residual_initializer(num_residual_layers: int) -> keras.initializers.Initializer:
    """Returns the initializer of a projection that writes to the residual stream.

    Its standard deviation is `0.02 / √num_residual_layers`, which keeps the
    stream's variance from growing with depth. Source: section 2.3 of "Language
    Models are Unsupervised Multitask Learners" (Radford et al., 2019).

    Args:
        num_residual_layers: Number of additions to the stream, two a block.
    """
    return _normal(KERNEL_STDDEV / math.sqrt(num_residual_layers))
