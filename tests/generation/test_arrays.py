"""The array functions of both backends have one set of names, and each is used."""

import inspect
import re
from pathlib import Path

import pytest

from gpt2_keras.generation.arrays import tensorflow_arrays

PACKAGE = Path(tensorflow_arrays.__file__).parents[2]


def names_of(module):
    """The functions and classes of a module that others use."""
    names = {name for name in vars(module) if not name.startswith(("_", "@"))}
    return {name for name in names if not inspect.ismodule(getattr(module, name))}


def test_both_backends_have_the_same_functions():
    jax_arrays = pytest.importorskip("gpt2_keras.generation.arrays.jax_arrays")
    imported = {"Any", "Callable", "Sequence"}
    assert names_of(jax_arrays) - imported == names_of(tensorflow_arrays) - imported


def test_every_function_is_used():
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    used = set(re.findall(r"\bxp\.(\w+)", "\n".join(sources)))
    assert names_of(tensorflow_arrays) - {"Any", "Callable", "Sequence"} == used
