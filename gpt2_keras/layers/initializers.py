"""The initializers of GPT-2's weights, and the epsilon of its norms."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras

from gpt2_keras.layers.kernels import current_kernels

LAYER_NORM_EPSILON = 1e-5  # openai/gpt-2 src/model.py, norm()
KERNEL_STDDEV = 0.02  # openai/gpt-2 src/model.py, conv1d(w_init_stdev=0.02)
TOKEN_EMBEDDING_STDDEV = 0.02  # openai/gpt-2 src/model.py, wte
POSITION_EMBEDDING_STDDEV = 0.01  # openai/gpt-2 src/model.py, wpe


_uninitialized = ContextVar("uninitialized", default=False)


@contextmanager
def uninitialized_weights() -> Iterator[None]:
    """Leaves the weights created inside the block uninitialized, for a model that is loaded next.

    Sampling them takes longer than reading them.
    """
    token = _uninitialized.set(True)
    try:
        yield
    finally:
        _uninitialized.reset(token)


class _Uninitialized(keras.initializers.Initializer):
    """An initializer that leaves the values open."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        return current_kernels().uninitialized(shape, keras.backend.standardize_dtype(dtype))


def _normal(stddev: float) -> keras.initializers.Initializer:
    if _uninitialized.get():
        return _Uninitialized()
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
        num_residual_layers: Number of additions to the stream, two per block.
    """
    return _normal(KERNEL_STDDEV / math.sqrt(num_residual_layers))
