"""The concrete functions of a model, traced once for every length and batch size."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gpt2_keras.generation import decoding_loop
from gpt2_keras.generation.log_probs import (
    continuation_log_probs,
    most_likely_next_tokens,
    text_log_probs,
)
from gpt2_keras.generation.logits_processors import History, processor_specs
from gpt2_keras.generation.sampler import sampling_specs
from gpt2_keras.model import GPT2Model

IDS = tf.TensorSpec([None, None], tf.int32, name="token_ids")
COUNTS = tf.TensorSpec([None], tf.int32, name="num_tokens")
INTEGER = tf.TensorSpec([], tf.int32)
NUMBER = tf.TensorSpec([], tf.float32)


def traced(function: Callable[..., Any], signature: Sequence[Any]) -> Any:
    """Returns a `tf.function` that is traced once.

    Without AutoGraph, which would take half of the tracing time to rewrite code that calls
    `tf.cond` and `tf.while_loop` itself.
    """
    return tf.function(function, autograph=False, input_signature=signature)


def cached_function(
    model: GPT2Model, name: str, key: tuple[Any, ...], make: Callable[[], Any]
) -> Any:
    """Returns a traced function that is cached with the model, made on first use.

    Args:
        model: The model that caches it.
        name: Its name. One function of each name is cached.
        key: What it was traced for; another key replaces it.
        make: Makes the function.

    Raises:
        RuntimeError: If Keras runs on another backend than TensorFlow.
    """
    if (backend := keras.backend.backend()) != "tensorflow":
        raise RuntimeError(
            f"Keras runs on the backend {backend!r}. Text is generated in TensorFlow graphs. "
            "Save the model, and load it where KERAS_BACKEND=tensorflow."
        )
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
    """Calls a function, traced on first use and then cached; returns its results as arrays.

    Args:
        model, name, key: As for `cached_function`.
        function: The function of tensors.
        signature: The specs of its arguments.
        *arguments: The arguments.
    """
    cached = cached_function(model, name, key, lambda: traced(function, signature))
    return tuple(result.numpy() for result in cached(*arguments))


class CompiledModel:
    """The concrete functions that `generate`, `stream` and `score` call.

    Args:
        model: The model. Its weights may change later; its shape may not.
        end_token_id: The id that stands before every text to score.
    """

    def __init__(self, model: GPT2Model, end_token_id: int) -> None:
        sampling, processors = sampling_specs(), processor_specs()
        state = _state_specs(model)
        # The cache of a prefix has one row.
        prefix = decoding_loop.Prefix(state.cache, COUNTS)

        self.start = traced(
            functools.partial(decoding_loop.start, model),
            [IDS, COUNTS, sampling, processors, INTEGER, prefix],
        )
        self.advance = traced(
            functools.partial(decoding_loop.advance, model), [state, sampling, processors, INTEGER]
        )
        self.prefill = traced(functools.partial(_prefill, model), [IDS])
        log_probs = functools.partial(text_log_probs, model, end_token_id=end_token_id)
        self.text_log_probs = traced(log_probs, [IDS, COUNTS])
        self.continuation_log_probs = traced(
            functools.partial(continuation_log_probs, model), [IDS, COUNTS]
        )
        self.next_tokens = traced(
            functools.partial(most_likely_next_tokens, model), [IDS, COUNTS, INTEGER]
        )


def _state_specs(model: GPT2Model) -> decoding_loop.DecodingState:
    """Returns the signature of the state of the decoding loop."""
    part = tf.TensorSpec(
        [None, model.config.num_heads, None, model.config.head_dim], model.compute_dtype
    )
    return decoding_loop.DecodingState(
        cache=[(part, part)] * model.config.num_layers,
        padding_mask=tf.TensorSpec([None, None], tf.bool),
        cache_index=INTEGER,
        history=History(IDS, INTEGER, INTEGER),
        last_ids=COUNTS,
        last_log_probs=tf.TensorSpec([None], tf.float32),
        finished=tf.TensorSpec([None], tf.bool),
    )


def _prefill(model: GPT2Model, token_ids: Any) -> Any:
    """Returns the cache of one text, (1, time)."""
    cache = model.make_cache(1, tf.shape(token_ids)[1])
    _, cache = model(token_ids, cache=cache, num_logits=1, training=False)
    return cache


def compiled(model: GPT2Model) -> CompiledModel:
    """Returns a model's functions, traced on first use and then cached with it.

    Raises:
        ValueError: If the model has no tokenizer.
        RuntimeError: If Keras runs on another backend than TensorFlow.
    """
    end_token_id = model.require_tokenizer().end_token_id
    functions: CompiledModel = cached_function(
        model, "generate", (end_token_id,), lambda: CompiledModel(model, end_token_id)
    )
    return functions
