"""How GPT-2's weights begin, and the one constant of its norms."""

import math

import keras

LAYER_NORM_EPSILON = 1e-5  # openai/gpt-2 src/model.py, norm()
KERNEL_STDDEV = 0.02  # openai/gpt-2 src/model.py, conv1d(w_init_stdev=0.02)
TOKEN_EMBEDDING_STDDEV = 0.02  # openai/gpt-2 src/model.py, wte
POSITION_EMBEDDING_STDDEV = 0.01  # openai/gpt-2 src/model.py, wpe


def kernel_initializer() -> keras.initializers.Initializer:
    """Returns the initializer of a projection that reads the residual stream."""
    return keras.initializers.RandomNormal(stddev=KERNEL_STDDEV)


def residual_initializer(num_residual_layers: int) -> keras.initializers.Initializer:
    """Returns the initializer of a projection that writes to the residual stream.

    Its standard deviation is `0.02 / √num_residual_layers`, which keeps the
    stream's variance from growing with depth. Source: section 2.3 of "Language
    Models are Unsupervised Multitask Learners" (Radford et al., 2019).

    Args:
        num_residual_layers: Number of additions to the stream, two a block.
    """
    return keras.initializers.RandomNormal(stddev=KERNEL_STDDEV / math.sqrt(num_residual_layers))
