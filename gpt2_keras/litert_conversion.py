"""Traced TensorFlow functions as a LiteRT file."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf


def convert(module: tf.Module, signatures: Mapping[str, Callable[..., Any]]) -> bytes:
    """Returns the contents of a `.tflite` file of traced functions.

    Args:
        module: Tracks the variables and constants of the functions.
        signatures: `tf.function`s with an input signature, by name.

    Raises:
        tf.lite's ConverterError: If an op has no builtin counterpart.
    """
    with tempfile.TemporaryDirectory() as directory, _quiet():
        tf.saved_model.save(module, directory, signatures=dict(signatures))
        converter = tf.lite.TFLiteConverter.from_saved_model(
            directory, signature_keys=list(signatures)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        contents: bytes = converter.convert()
    return contents


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the converter's own progress lines; its errors are raised."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)
