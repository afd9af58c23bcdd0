"""Rows of integers that are computed from their number, and which of them a batch has.

A batch is decided by its number alone. What delivers it is TensorFlow's `tf.data` where
TensorFlow is installed, and a Keras `PyDataset` elsewhere: the same batches in the same
order.
"""

import importlib.util
from typing import TYPE_CHECKING

from gpt2_keras.data.batch_plan import BatchPlan

if TYPE_CHECKING:
    import tensorflow as tf

    from gpt2_keras.data.keras_batches import KerasBatches


def make_batches(plan: BatchPlan) -> "tf.data.Dataset | KerasBatches":
    """Returns the batches of a plan as pairs `(inputs, targets)`; their number is known."""
    if importlib.util.find_spec("tensorflow") is None:
        from gpt2_keras.data.keras_batches import KerasBatches

        return KerasBatches(plan)
    from gpt2_keras.data.tensorflow_batches import tensorflow_batches

    return tensorflow_batches(plan)
