"""Copies of a model in another shape."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from gpt2_keras.layers.initializers import uninitialized_weights
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_instance


def check_source(name: str, model: GPT2Model) -> None:
    """Checks that a model can be copied.

    Raises:
        TypeError: If it is none.
        ValueError: If LoRA is enabled.
    """
    check_instance(name, model, GPT2Model, "a GPT-2 model")
    if any("lora" in variable.name for variable in model.weights):
        raise ValueError(
            f"{name} has LoRA, whose weights have the shape of the layers. Call merge_lora first."
        )


def uninitialized_copy(model: GPT2Model, **changes: Any) -> GPT2Model:
    """Returns a model of the same class, tokenizer and dtype, whose weights are to be set.

    Args:
        model: The model.
        **changes: Fields of its config that change.
    """
    config = dataclasses.replace(model.config, **changes)
    tokenizer = model.tokenizer if config.vocab_size == model.config.vocab_size else None
    with uninitialized_weights():
        copy = type(model)(config, tokenizer=tokenizer, dtype=model.dtype_policy)
    copy.generation_config = model.generation_config
    return copy


def copy_all_but_blocks(source: GPT2Model, target: GPT2Model) -> None:
    """Sets the embeddings and the last norm of a model to those of another one."""
    copy_weights(source.token_embedding, target.token_embedding)
    copy_weights(source.position_embedding, target.position_embedding)
    copy_weights(source.decoder.final_norm, target.decoder.final_norm)


def copy_weights(
    source: keras.layers.Layer,
    target: keras.layers.Layer,
    change: Callable[[Any], Any] = ops.copy,
) -> None:
    """Sets the weights of a layer to those of another one, changed by a function."""
    for old, new in zip(source.weights, target.weights, strict=True):
        # A copy: on JAX both variables would hold one array, which training deletes.
        new.assign(change(old.value))
