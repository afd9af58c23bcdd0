"""TensorFlow without its start-up lines."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator

from gpt2_keras.devices import check_device, hide_gpus


def load_tensorflow(device: str | None = None) -> None:
    """Imports TensorFlow, if it is installed, and Keras and finds the devices, silently.

    TensorFlow's C++ code writes to the error stream, before its log level counts,
    of kernels and devices it does or does not have, which says nothing to a user. Errors
    are still raised.

    Args:
        device: The kind of device that the user chose, `"cpu"` or `"gpu"`, or None.

    Raises:
        ValueError: If Keras computes on another one.
    """
    if device == "cpu":
        hide_gpus()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_error_stream():
        import keras

        if importlib.util.find_spec("tensorflow") or keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()
        # Workers find each other before anything is computed.
        if not {"TF_CONFIG", "KERAS_DISTRIBUTION_JOB_ADDRESSES"} & os.environ.keys():
            keras.ops.zeros(1)
    if device is not None:
        check_device(device)


@contextlib.contextmanager
def _silent_error_stream() -> Iterator[None]:
    """Redirects the error stream of the process, C++ code included, to the null device."""
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nothing)
        os.close(kept)
