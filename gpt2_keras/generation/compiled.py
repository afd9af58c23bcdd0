"""The traced functions of one model: one trace each, for every length and batch."""

import functools
from typing import Any

import keras
import tensorflow as tf

from gpt2_keras.generation import loop, scoring_graph
from gpt2_keras.generation.sampling import SamplingTensors
from gpt2_keras.model import GPT2LM

IDS = tf.TensorSpec([None, None], tf.int32, name="token_ids")
COUNTS = tf.TensorSpec([None], tf.int32, name="num_tokens")
SCALAR = tf.TensorSpec([], tf.int32)
SAMPLING = SamplingTensors(
    temperature=tf.TensorSpec([None], tf.float32, name="temperature"),
    top_k=tf.TensorSpec([None], tf.int32, name="top_k"),
    top_p=tf.TensorSpec([None], tf.float32, name="top_p"),
    seed=tf.TensorSpec([None], tf.int32, name="seed"),
)


class CompiledModel:
    """Holds what `generate`, `stream` and `score` call on a model.

    Args:
        model: The model. Its weights may change later; its shape may not.
        end_token_id: The id that finishes a text.

    Raises:
        RuntimeError: If Keras runs on another backend than TensorFlow.
    """

    def __init__(self, model: GPT2LM, end_token_id: int) -> None:
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "Text is generated in TensorFlow graphs. "
                f"Received: Keras backend {keras.backend.backend()!r}. "
                "Save the model, and load it where KERAS_BACKEND=tensorflow."
            )
        heads, head_dim = model.config.num_heads, model.config.head_dim
        cache = tf.TensorSpec([None, heads, None, head_dim], model.compute_dtype)
        state = loop.DecodingState(
            cache=[(cache, cache)] * model.config.num_layers,
            padding_mask=tf.TensorSpec([None, None], tf.bool),
            cache_index=SCALAR,
            step=SCALAR,
            last_ids=COUNTS,
            finished=tf.TensorSpec([None], tf.bool),
        )

        def start(ids: Any, counts: Any, sampling: SamplingTensors, cache_length: Any) -> Any:
            return loop.start(
                model, ids, counts, sampling, cache_length=cache_length, end_token_id=end_token_id
            )

        def advance(state: loop.DecodingState, sampling: SamplingTensors, max_steps: Any) -> Any:
            return loop.advance(
                model, state, sampling, max_steps=max_steps, end_token_id=end_token_id
            )

        self.end_token_id = end_token_id
        self.start = tf.function(start, input_signature=[IDS, COUNTS, SAMPLING, SCALAR])
        self.advance = tf.function(advance, input_signature=[state, SAMPLING, SCALAR])
        self.log_probs = tf.function(
            functools.partial(scoring_graph.log_probs, model, end_token_id=end_token_id),
            input_signature=[IDS, COUNTS],
        )
        self.next_tokens = tf.function(
            functools.partial(scoring_graph.next_tokens, model),
            input_signature=[IDS, COUNTS, SCALAR],
        )


def compiled(model: GPT2LM) -> CompiledModel:
    """Returns a model's functions, traced on first use and then kept with it.

    Raises:
        ValueError: If the model has no tokenizer.
    """
    end_token_id = model.require_tokenizer().end_token_id
    kept: CompiledModel | None = getattr(model, "_compiled_model", None)
    if kept is None or kept.end_token_id != end_token_id:
        kept = model._compiled_model = CompiledModel(model, end_token_id)
    return kept
