"""What TensorFlow does not offer: private names, and errors of the system's own kind.

Imports no Keras.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def file_errors() -> Iterator[None]:
    """Raises the errors of TensorFlow's file system as the `OSError` that they are.

    Source: `IOError` in tensorflow/tsl `platform/errors.cc`, which maps `errno`.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
    except tf.errors.PermissionDeniedError as error:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES)) from error


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


def optimization_barrier(x: Any) -> Any:
    """Returns a tensor that XLA, which must compile the graph, does not fuse with its readers.

    Source: `optimization_barrier` in TensorFlow's `compiler/tf2xla/python/xla.py`.
    """
    from tensorflow.compiler.tf2xla.python import xla

    (result,) = xla.optimization_barrier(x)
    result.set_shape(x.shape)
    return result
