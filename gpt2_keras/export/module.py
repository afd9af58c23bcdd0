"""What of a Keras model goes into an artefact."""

import tensorflow as tf

from gpt2_keras.model import GPT2LM


def module_of_weights(model: GPT2LM) -> tf.Module:
    """Returns a module that tracks a model's weights, and nothing else of it.

    Functions to save are set as its attributes. The Keras model itself, which
    has an optimizer and traces of its own, stays behind.

    Args:
        model: The model.
    """
    module = tf.Module()
    module.weights_of_model = [variable.value for variable in model.weights]
    return module
