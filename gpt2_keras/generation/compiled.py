"""The traced functions of one model: one trace each, for every length and batch."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from gpt2_keras.generation import decoding_loop as loop
from gpt2_keras.generation import log_probs as scoring_graph
from gpt2_keras.generation.logits_processors import Constraints, History, constraint_specs
from gpt2_keras.generation.sampling import SamplingTensors, sampling_specs
from gpt2_keras.model import GPT2Model

IDS = tf.TensorSpec([None, None], tf.int32, name="token_ids")
COUNTS = tf.TensorSpec([None], tf.int32, name="num_tokens")
INTEGER = tf.TensorSpec([], tf.int32)
NUMBER = tf.TensorSpec([], tf.float32)


def traced(function: Callable[..., Any], signature: Sequence[Any]) -> Any:
    """Returns a `tf.function` of one trace.

    Without AutoGraph, which would take half of the tracing's time to rewrite code that
    asks for its conditions and loops itself.
    """
    return tf.function(function, autograph=False, input_signature=signature)


def kept_trace(model: GPT2Model, name: str, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """Returns the traced function of a method: made on first use, then kept with the model.

    Args:
        model: The model that keeps it.
        name: The method. One function of each is kept.
        key: What the trace was made for; another key replaces it.
        make: Makes the function.

    Raises:
        RuntimeError: If Keras runs on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Text is generated in TensorFlow graphs. "
            f"Received: Keras backend {keras.backend.backend()!r}. "
            "Save the model, and load it where KERAS_BACKEND=tensorflow."
        )
    # Past `__setattr__`, so that the functions are no part of what is saved of the model.
    kept = model.__dict__.setdefault("_kept_traces", {})
    if name not in kept or kept[name][0] != key:
        kept[name] = (key, make())
    return kept[name][1]


class CompiledModel:
    """Holds what `generate`, `stream` and `score` call on a model.

    Args:
        model: The model. Its weights may change later; its shape may not.
        end_token_id: The id that stands before every text to score.
    """

    def __init__(self, model: GPT2Model, end_token_id: int) -> None:
        sampling, constraints = sampling_specs(), constraint_specs()
        state = _state_specs(model)
        # A prefix is a cache of one row.
        prefix = loop.Prefix(state.cache, COUNTS)

        def start(
            ids: Any,
            counts: Any,
            sampling: SamplingTensors,
            constraints: Constraints,
            max_new_tokens: Any,
            prefix: loop.Prefix,
        ) -> Any:
            return loop.start(
                model,
                ids,
                counts,
                sampling,
                constraints,
                max_new_tokens=max_new_tokens,
                prefix=prefix,
            )

        def advance(
            state: loop.DecodingState,
            sampling: SamplingTensors,
            constraints: Constraints,
            max_steps: Any,
        ) -> Any:
            return loop.advance(model, state, sampling, constraints, max_steps=max_steps)

        self.start = traced(start, [IDS, COUNTS, sampling, constraints, INTEGER, prefix])
        self.advance = traced(advance, [state, sampling, constraints, INTEGER])
        self.read = traced(functools.partial(_read, model), [IDS])
        log_probs = functools.partial(scoring_graph.log_probs, model, end_token_id=end_token_id)
        self.log_probs = traced(log_probs, [IDS, COUNTS])
        self.next_tokens = traced(
            functools.partial(scoring_graph.next_tokens, model), [IDS, COUNTS, INTEGER]
        )


def _state_specs(model: GPT2Model) -> loop.DecodingState:
    """Returns the signature of a running generation."""
    kept = tf.TensorSpec(
        [None, model.config.num_heads, None, model.config.head_dim], model.compute_dtype
    )
    return loop.DecodingState(
        cache=[(kept, kept)] * model.config.num_layers,
        padding_mask=tf.TensorSpec([None, None], tf.bool),
        cache_index=INTEGER,
        history=History(IDS, INTEGER, INTEGER),
        last_ids=COUNTS,
        last_log_probs=tf.TensorSpec([None], tf.float32),
        finished=tf.TensorSpec([None], tf.bool),
    )


def _read(model: GPT2Model, token_ids: Any) -> Any:
    """Returns the cache of one text, (1, time)."""
    cache = model.make_cache(1, tf.shape(token_ids)[1])
    _, cache = model(token_ids, cache=cache, num_logits=1, training=False)
    return cache


def compiled(model: GPT2Model) -> CompiledModel:
    """Returns a model's functions, traced on first use and then kept with it.

    Raises:
        ValueError: If the model has no tokenizer.
        RuntimeError: If Keras runs on another backend than TensorFlow.
    """
    end_token_id = model.require_tokenizer().end_token_id
    kept: CompiledModel = kept_trace(
        model, "generate", (end_token_id,), lambda: CompiledModel(model, end_token_id)
    )
    return kept
