"""The functions of a model as graphs of TensorFlow, each traced once for every length."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from gpt2_keras.generation import decoding_loop
from gpt2_keras.generation.log_probs import (
    continuation_log_probs,
    most_likely_next_tokens,
    text_log_probs,
)
from gpt2_keras.generation.specs import (
    COUNTS,
    IDS,
    INTEGER,
    Spec,
    processor_specs,
    sampling_specs,
    state_specs,
)
from gpt2_keras.model import GPT2Model


def traced(function: Callable[..., Any], signature: Sequence[Any]) -> Any:
    """Returns a `tf.function` that is traced once.

    Without AutoGraph, which would take half of the tracing time to rewrite code that calls
    `tf.cond` and `tf.while_loop` itself.

    Args:
        function: The function of tensors.
        signature: The `Spec`s or `tf.TensorSpec`s of its arguments, nested as they are.
    """
    signature = tf.nest.map_structure(_tensor_spec, list(signature))
    return tf.function(function, autograph=False, input_signature=signature)


def _tensor_spec(spec: Any) -> Any:
    return tf.TensorSpec(spec.shape, spec.dtype, spec.name) if isinstance(spec, Spec) else spec


def compile_function(
    _model: GPT2Model, function: Callable[..., Any], signature: Sequence[Any]
) -> Any:
    """Returns a function for `call_cached`."""
    return traced(function, signature)


def compile_model(model: GPT2Model, end_token_id: int) -> "TracedModel":
    """Returns the functions that `generate`, `stream` and `score` call."""
    return TracedModel(model, end_token_id)


class TracedModel:
    """The functions that `generate`, `stream` and `score` call.

    Args:
        model: The model. Its weights may change later; its shape may not.
        end_token_id: The id that stands before every text to score.
    """

    def __init__(self, model: GPT2Model, end_token_id: int) -> None:
        sampling, processors = sampling_specs(), processor_specs()
        state = state_specs(model)
        # The cache of a prefix has one row.
        prefix = decoding_loop.Prefix(state.cache, COUNTS)
        self.start = traced(
            functools.partial(decoding_loop.start, model),
            [IDS, COUNTS, sampling, processors, INTEGER, prefix],
        )
        self.advance = traced(
            functools.partial(decoding_loop.advance, model), [state, sampling, processors, INTEGER]
        )
        self.prefill = traced(functools.partial(decoding_loop.prefill, model), [IDS, prefix])
        log_probs = functools.partial(text_log_probs, model, end_token_id=end_token_id)
        self.text_log_probs = traced(log_probs, [IDS, COUNTS])
        self.continuation_log_probs = traced(
            functools.partial(continuation_log_probs, model), [IDS, COUNTS]
        )
        self.next_tokens = traced(
            functools.partial(most_likely_next_tokens, model), [IDS, COUNTS, INTEGER]
        )
