"""The functions of a model as XLA compiles them for TensorFlow, with `jit_compile=True`."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from gpt2_keras.generation.arrays.static_shapes import static_shapes
from gpt2_keras.generation.buckets import BucketedModel
from gpt2_keras.layers.kernels import using_kernels
from gpt2_keras.layers.kernels.tensorflow_xla import TensorFlowXlaKernels
from gpt2_keras.model import GPT2Model


def compile_model(model: GPT2Model, end_token_id: int) -> BucketedModel:
    """Returns the functions that `generate` and `stream` call."""
    return BucketedModel(model, end_token_id, _compile)


def _compile(
    function: Callable[..., Any],
    *,
    static: tuple[int, ...],
    donated: tuple[int, ...],  # noqa: ARG001 -- TensorFlow cannot
) -> Callable[..., Any]:
    """See `buckets.Compile`."""
    kernels, programs = TensorFlowXlaKernels(), {}

    def traced(arrays: list[Any], constants: dict[int, Any]) -> Any:
        def run(*arrays: Any) -> Any:
            arguments = list(arrays)
            for index in sorted(constants):
                arguments.insert(index, constants[index])
            with using_kernels(kernels), static_shapes():
                return function(*arguments)

        return tf.function(run, autograph=False, jit_compile=True).get_concrete_function(*arrays)

    def call(*arguments: Any) -> Any:
        constants = {index: arguments[index] for index in static}
        arrays = [each for index, each in enumerate(arguments) if index not in constants]
        arrays = tf.nest.map_structure(tf.convert_to_tensor, arrays)
        shapes = tuple(tuple(each.shape) for each in tf.nest.flatten(arrays))
        key = (shapes, *constants.values())
        # Not one `tf.function` for all: of one that is traced again and again TensorFlow warns.
        if key not in programs:
            programs[key] = traced(arrays, constants)
        return programs[key](*arrays)

    return call
