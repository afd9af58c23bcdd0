"""Models and their `.tflite` files, made once for all that ask in a process."""

import atexit
import functools
import tempfile
from pathlib import Path

from tests.models import random_model, text_model

SMALL = {"context_length": 48, "num_layers": 1}


@functools.cache
def text_file():
    """A model of text, and its file."""
    return _exported(text_model(context_length=64))


@functools.cache
def small_model():
    """A smaller model of text."""
    return text_model(**SMALL)


@functools.cache
def small_file():
    """That, and its file."""
    return _exported(small_model())


@functools.cache
def bare_file():
    """A model without a tokenizer, and its file."""
    return _exported(random_model())


def _exported(model):
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return model, model.export(Path(folder.name) / "model.tflite", format="litert")
