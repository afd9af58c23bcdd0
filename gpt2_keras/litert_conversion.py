"""Conversion of traced TensorFlow functions to a LiteRT file."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from gpt2_keras.private_api.tensorflow import file_errors, lite_converter

# TensorFlow imports these where they are installed, which takes a third of its own time.
_SKIPPED_IMPORTS = ("jax", "keras", "matplotlib")


class ConversionError(RuntimeError):
    """LiteRT's converter could not convert a graph."""


def convert(module: tf.Module, signatures: Mapping[str, Callable[..., Any]]) -> bytes:
    """Returns the contents of a `.tflite` file of traced functions, in builtin ops alone.

    The converter runs in a process of its own, as it does not free several times the
    model's size of memory. Constants that are equal may be in the file more than once.

    Args:
        module: Tracks the variables and constants of the functions. Variables that
            no function assigns become constants, the others variables of the file.
        signatures: `tf.function`s with an input signature, or concrete functions,
            by name.

    Raises:
        ConversionError: If an op has no builtin counterpart.
    """
    with tempfile.TemporaryDirectory() as directory:
        saved, converted = Path(directory, "saved"), Path(directory, "model.tflite")
        with file_errors():
            tf.saved_model.save(module, str(saved), signatures=dict(signatures))
        code = (
            f"import sys; sys.modules |= dict.fromkeys({_SKIPPED_IMPORTS}); "
            f"from {__name__} import convert_saved_model as f; f(*sys.argv[1:])"
        )
        command = [sys.executable, "-c", code, str(saved), str(converted), *signatures]
        # The other process must find this package where this one does.
        paths = os.pathsep.join(entry for entry in sys.path if entry)
        environment = os.environ | {"PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if result.returncode:
            reason = result.stderr.strip().splitlines()[-12:]
            raise ConversionError(
                f"LiteRT's converter failed with exit status {result.returncode}. All ops must "
                f"have builtin counterparts. It says: {' '.join(reason)[-2000:]}"
            )
        return converted.read_bytes()


def convert_saved_model(saved: str, converted: str, *signature_keys: str) -> None:
    """Converts a SavedModel, in this process.

    Args:
        saved: Its directory.
        converted: The file to write.
        *signature_keys: The signatures to convert.
    """
    # `tf.lite.TFLiteConverter` does the same, but first loads the SavedModel twice, and then
    # unpacks the file three times and packs it twice, in Python: twice the time in all.
    contents = lite_converter().convert_saved_model(
        saved_model_dir=saved,
        saved_model_version=1,
        saved_model_tags={tf.saved_model.SERVING},
        saved_model_exported_names=signature_keys,
        target_ops=[tf.lite.OpsSet.TFLITE_BUILTINS],
        enable_tflite_resource_variables=True,
    )
    Path(converted).write_bytes(contents)
