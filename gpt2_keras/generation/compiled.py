"""The functions of a model that are compiled once: for TensorFlow's graphs, by JAX or by XLA.

`tensorflow_functions.py` traces them for every length and batch size. `jax_functions.py`, and
`xla_functions.py` for TensorFlow, compile them for buckets of lengths.
"""

import functools
import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import keras
import numpy as np

from gpt2_keras.layers.activations import observers
from gpt2_keras.model import GPT2Model


def _functions() -> ModuleType:
    """Returns the module of the backend.

    Raises:
        RuntimeError: If Keras runs on another backend than TensorFlow and JAX.
    """
    if (backend := keras.backend.backend()) not in ("tensorflow", "jax"):
        raise RuntimeError(
            f"Keras runs on the backend {backend!r}. Text is generated on TensorFlow or JAX. "
            "Save the model, and load it where KERAS_BACKEND is tensorflow or jax."
        )
    return importlib.import_module(f"gpt2_keras.generation.{backend}_functions")


def cached_function(
    model: GPT2Model, name: str, key: tuple[Any, ...], make: Callable[[], Any]
) -> Any:
    """Returns a compiled function that is cached with the model, made on first use.

    Args:
        model: The model that caches it.
        name: Its name. One function of each name is cached.
        key: What it was made for; another key replaces it.
        make: Makes the function.
    """
    if watching := observers():  # they are part of what is traced, those of a draft model too
        cache = watching[-1].cached_functions.setdefault((model, *watching), {})
    else:
        # Not by `__setattr__`, so that Keras does not track the functions.
        cache = model.__dict__.setdefault("_cached_functions", {})
    if name not in cache or cache[name][0] != key:
        cache[name] = (key, make())
    return cache[name][1]


def forget_cached_functions(model: GPT2Model) -> None:
    """Drops all cached functions: each computes with the weights it was traced for."""
    model.__dict__.pop("_cached_functions", None)


def call_cached(
    model: GPT2Model,
    name: str,
    key: tuple[Any, ...],
    function: Callable[..., Any],
    signature: Sequence[Any],
    *arguments: Any,
) -> tuple[np.ndarray, ...]:
    """Calls a function, compiled on first use and then cached; returns its results as arrays.

    Args:
        model, name, key: As for `cached_function`.
        function: The function of tensors.
        signature: The specs of its arguments.
        *arguments: The arguments; the first is token ids, padded on the left.

    Raises:
        RuntimeError: If Keras runs on another backend than TensorFlow and JAX.
    """
    make = functools.partial(_functions().compile_function, model, function, signature)
    results = cached_function(model, name, key, make)(*arguments)
    return tuple(map(np.asarray, results))


def compiled(model: GPT2Model, *, jit_compile: bool = False) -> Any:
    """Returns a model's functions, compiled on first use and then cached with it.

    Each is called with arrays, and returns what `decoding_loop.py` and `log_probs.py` say:
    `start`, `advance`, `prefill`, `text_log_probs`, `continuation_log_probs`, `next_tokens`.

    Args:
        model: The model.
        jit_compile: Whether XLA compiles them on TensorFlow, as it always does on JAX.

    Raises:
        ValueError: If the model has no tokenizer.
        RuntimeError: If Keras runs on another backend than TensorFlow and JAX.
    """
    end_token_id = model.require_tokenizer().end_token_id
    module, name = _functions(), "generate"
    if jit_compile and keras.backend.backend() == "tensorflow":
        module = importlib.import_module("gpt2_keras.generation.xla_functions")
        name = "generate with XLA"
    make = functools.partial(module.compile_model, model, end_token_id)
    return cached_function(model, name, (end_token_id,), make)
