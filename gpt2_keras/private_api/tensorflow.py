"""Private names of TensorFlow; imports no Keras."""

from typing import Any


def in_multi_worker_mode(strategy: Any) -> bool:
    """Returns whether a `MultiWorkerMirroredStrategy` has more than one worker."""
    return bool(strategy.extended._in_multi_worker_mode())


def lite_schema() -> Any:
    """Returns TensorFlow's module of classes for the parts of a `.tflite` file."""
    from tensorflow.lite.python import schema_py_generated

    return schema_py_generated


def lite_converter() -> Any:
    """Returns TensorFlow's module that calls the LiteRT converter, below `tf.lite`."""
    from tensorflow.lite.python import convert

    return convert
