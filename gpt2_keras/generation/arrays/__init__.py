"""The array functions of generation: the same names on TensorFlow and on JAX.

`xp` has them, with NumPy's names where NumPy has such a function. Not `keras.ops`: its
functions add casts and passes to the graphs that are exported (`keras.ops.argmax` copies the
logits to treat negative zeros), and gathers that LiteRT has no builtin op for.
"""

import importlib
from typing import Any

import keras

Array = Any  # a tensor of the backend

_BACKEND = "jax" if keras.backend.backend() == "jax" else "tensorflow"
xp: Any = importlib.import_module(f"gpt2_keras.generation.arrays.{_BACKEND}_arrays")
