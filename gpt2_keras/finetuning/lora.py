"""LoRA: trains a product of two small matrices that is added to a frozen kernel."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import keras

from gpt2_keras import checkpoints
from gpt2_keras.finetuning.freezing import unfreeze
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api.keras import raw_kernel, remove_weights
from gpt2_keras.validation import (
    check_choice,
    check_instance,
    check_integer,
    check_number,
    check_texts,
)

# The layers that LoRA can adapt, and their sublayer in a block.
LAYERS = {
    "qkv": "attention",
    "output_projection": "attention",
    "expand": "feed_forward",
    "project": "feed_forward",
}


def enable_lora(
    model: GPT2Model,
    rank: int = 8,
    layers: Collection[str] = ("qkv",),
    *,
    alpha: float | None = None,
) -> None:
    """Freezes a model and adds trainable matrices of low rank to some of its layers.

    A kernel `W` becomes `W + alpha / rank · A B`, with `A` of `rank` columns and `B` of
    `rank` rows. `B` is zero at first, so the outputs do not change. Source: "LoRA:
    Low-Rank Adaptation of Large Language Models" (Hu et al., 2021); computed by Keras'
    `enable_lora`.

    Call it before `compile()`.

    Args:
        model: The model.
        rank: Number of columns of `A`, at least 1.
        layers: The layers of each block to adapt: some of `"qkv"`,
            `"output_projection"`, `"expand"` and `"project"`.
        alpha: Scale of `A B`, times `rank`; above 0, by default `rank`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a layer is none of these, a number is out of its range, or LoRA
            is enabled already.

    Example:
        >>> model = GPT2LM(GPT2Config(vocab_size=9, context_length=4, num_layers=2,
        ...                           num_heads=1, hidden_dim=4))
        >>> enable_lora(model, rank=2)
        >>> [tuple(variable.shape) for variable in model.trainable_variables]
        [(12, 2), (2, 4), (12, 2), (2, 4)]
    """
    check_instance("layers", layers, (list, tuple, set, frozenset), "a list of layers")
    for index, layer in enumerate(check_texts("layers", layers)):
        check_choice(f"layers[{index}]", layer, LAYERS)
    rank = check_integer("rank", rank, minimum=1)
    if alpha is not None:
        alpha = check_number("alpha", alpha, above=0)
    if any(True for _ in _adapted(model)):
        raise ValueError(
            "The model has LoRA already. Call merge_lora first, or load the model again."
        )
    for variable in model.weights:
        variable.trainable = False
    for layer in _projections(model, layers):
        layer.enable_lora(rank, lora_alpha=alpha)
    _forget_compiled_functions(model)


def merge_lora(model: GPT2Model) -> None:
    """Adds the LoRA matrices to the kernels; the model is an ordinary one again.

    The outputs do not change, and every weight is trainable again after `compile()`.

    Raises:
        ValueError: If LoRA is not enabled.
    """
    adapted = list(_adapted(model))
    if not adapted:
        raise ValueError("The model has no LoRA to merge. Call enable_lora and train it first.")
    for layer in adapted:
        raw_kernel(layer).assign(layer.merged_kernel())
        remove_weights(layer, (layer.lora_kernel_a, layer.lora_kernel_b))
        layer.lora_enabled = False
        layer.lora_rank = layer.lora_alpha = None
    unfreeze(model)
    _forget_compiled_functions(model)


def save_adapter(model: GPT2Model, directory: str | Path) -> None:
    """Writes the LoRA matrices of a model alone.

    The directory has the layout of Hugging Face's PEFT: `adapter_config.json` and
    `adapter_model.safetensors`.

    Args:
        model: A model with LoRA.
        directory: The new directory.

    Raises:
        ValueError: If LoRA is not enabled.
        FileExistsError: If the directory is not empty.
    """
    checkpoints.save_adapter(model, directory)


def load_adapter(model: GPT2Model, directory: str | Path) -> None:
    """Enables LoRA on a model, with the matrices of an adapter of `save_adapter` or PEFT.

    Args:
        model: The model that the adapter was trained on, without LoRA.
        directory: The adapter's directory.

    Raises:
        FileNotFoundError: If there is no adapter.
        ValueError: If it is for another model, is another method than LoRA, or LoRA is
            enabled already.
    """
    adapter = checkpoints.read_adapter(directory)
    enable_lora(model, adapter.rank, adapter.layers, alpha=adapter.alpha)
    try:
        checkpoints.fill_adapter(model, directory)
    except ValueError:
        merge_lora(model)  # the new matrices are zero: the model is as before
        raise


def _projections(model: GPT2Model, layers: Collection[str]) -> Iterator[Any]:
    for block in model.decoder.blocks:
        for name in layers:
            yield getattr(getattr(block, LAYERS[name]), name)


def _adapted(model: GPT2Model) -> Iterator[Any]:
    """Yields the layers that have LoRA."""
    return (layer for layer in _projections(model, LAYERS) if layer.lora_enabled)


def _forget_compiled_functions(model: GPT2Model) -> None:
    """Drops every compiled function of a model: each computes with the weights it was made for."""
    model.train_function = model.test_function = model.predict_function = None
    if keras.backend.backend() == "tensorflow":  # generation needs it, training does not
        from gpt2_keras.generation.compiled import forget_cached_functions

        forget_cached_functions(model)
