"""The weights of a model in the type in which a SavedModel stores them."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_choice

WEIGHT_DTYPES = ("float32", "float16", "bfloat16", "int8")
_INT8_MAX = 127  # -128 stays unused, so that the range is symmetric around 0


class StoredWeights:
    """A model's weights, each once, in the type asked for.

    Weights of a smaller type are cast to the model's own type at every call of the
    artifact: the file is smaller, and the arithmetic is that of the model.

    Args:
        model: The model.
        dtype: `"float32"`: the model's own variables. `"float16"`, `"bfloat16"`:
            rounded. `"int8"`: of each row of a matrix, integers and a scale
            `max|w| / 127`; vectors stay as they are.

    Raises:
        TypeError, ValueError: If the type is none of these.

    Attributes:
        module: A `tf.Module` that tracks the stored variables, and nothing else.
    """

    def __init__(self, model: GPT2Model, dtype: str = "float32") -> None:
        check_choice("dtype", dtype, WEIGHT_DTYPES)
        self._dtype = dtype
        self._originals = [] if dtype == "float32" else model.weights
        self._stored = [tf.Variable(_round(v.value, dtype)) for v in self._originals]
        self._scales = [tf.Variable(_scale(v.value)) for v in self._originals if dtype == "int8"]
        # What is set here is saved, and not the model itself with its optimizer.
        self.module = tf.Module(name="weights")
        self.module.values = self._stored or [variable.value for variable in model.weights]
        self.module.scales = self._scales

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Makes the model compute with the stored weights in a graph that is traced inside."""
        if self._dtype == "float32":
            yield
            return
        values = [
            tf.cast(stored, original.dtype)
            for stored, original in zip(self._stored, self._originals, strict=True)
        ]
        if self._dtype == "int8":
            values = [value * scale for value, scale in zip(values, self._scales, strict=True)]
        mapping = list(zip(self._originals, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            yield


def _scale(value: tf.Tensor) -> tf.Tensor:
    """Returns the int8 scale of each row of a matrix, (rows, 1); 1 for a vector."""
    if value.shape.rank != 2:
        return tf.ones([], value.dtype)
    largest = tf.reduce_max(tf.abs(value), axis=1, keepdims=True)
    return tf.where(largest > 0, largest / _INT8_MAX, 1.0)


def _round(value: tf.Tensor, dtype: str) -> tf.Tensor:
    """Returns a weight in the type it is stored in."""
    value = tf.convert_to_tensor(value)
    if dtype != "int8":
        return tf.cast(value, dtype)
    if value.shape.rank != 2:
        return value
    return tf.cast(tf.round(value / _scale(value)), tf.int8)
