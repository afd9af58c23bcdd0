"""The functions of a model as JAX compiles them.

A loop is one program on the device; the cache of its last state is donated, and written in
place.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
import numpy as np

from gpt2_keras.generation.buckets import BucketedModel, pad_left
from gpt2_keras.generation.specs import INTEGER
from gpt2_keras.model import GPT2Model


def compile_function(
    model: GPT2Model, function: "functools.partial[Any]", signature: Sequence[Any]
) -> Callable[..., Any]:
    """Returns a function for `call_cached`.

    Its first argument is token ids, padded on the left; integers are compiled in.
    """
    static = tuple(index for index, spec in enumerate(signature) if spec == INTEGER)
    models = [each for each in function.args if isinstance(each, keras.Model)]
    compiled = _compile(models, function, static=static)

    def run(token_ids: Any, *arguments: Any) -> Any:
        numbers = (int(each) if isinstance(each, np.integer) else each for each in arguments)
        return compiled(pad_left(model, token_ids), *numbers)

    return run


def compile_model(model: GPT2Model, end_token_id: int) -> BucketedModel:
    """Returns the functions that `generate`, `stream` and `score` call."""
    return BucketedModel(model, end_token_id, functools.partial(_compile, [model]))


def _compile(
    models: Sequence[keras.Model],
    function: Callable[..., Any],
    *,
    static: tuple[int, ...] = (),
    donated: tuple[int, ...] = (),
) -> Callable[..., Any]:
    """Returns a compiled function, which reads the weights of models as they are when called.

    Args:
        models: The models.
        function, static, donated: See `buckets.Compile`.
    """
    variables = [variable for model in models for variable in model.variables]

    def run(values: Any, *arguments: Any) -> Any:
        pairs = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=pairs):
            return function(*arguments)

    compiled = jax.jit(
        run,
        static_argnums=tuple(index + 1 for index in static),
        donate_argnums=tuple(index + 1 for index in donated),
    )
    return lambda *arguments: compiled([variable.value for variable in variables], *arguments)
