"""The delivery of batches: the same ones in the same order, with and without TensorFlow."""

import importlib.util
from typing import TYPE_CHECKING

from gpt2_keras.data.batch_plan import BatchPlan

if TYPE_CHECKING:
    import tensorflow as tf

    from gpt2_keras.data.keras_batches import KerasBatches


def make_batches(plan: BatchPlan) -> "tf.data.Dataset | KerasBatches":
    """Returns the batches of a plan as pairs `(inputs, targets)`.

    A `tf.data` dataset where TensorFlow is installed, else a Keras `PyDataset`. The number of
    batches is known.
    """
    if importlib.util.find_spec("tensorflow") is None:
        from gpt2_keras.data.keras_batches import KerasBatches

        return KerasBatches(plan)
    from gpt2_keras.data.tensorflow_batches import tensorflow_batches

    return tensorflow_batches(plan)
