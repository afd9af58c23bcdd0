"""LoRA: a product of two small matrices is trained in place of a large one."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from gpt2_keras.finetuning.freezing import unfreeze
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api import raw_kernel, remove_weights

# Where the layers are in a block.
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

    A kernel `W` becomes `W + alpha / rank · A B`, with `A` of `rank` columns and
    `B` of `rank` rows, which begins at zero: the model computes what it did.
    Source: "LoRA: Low-Rank Adaptation of Large Language Models" (Hu et al., 2021);
    the addition is Keras' own `enable_lora`.

    Call it before `compile()`.

    Args:
        model: The model.
        rank: Number of columns of `A`, at least 1.
        layers: Which layers of each block: of `"qkv"`, `"output_projection"`,
            `"expand"` and `"project"`.
        alpha: Scale of the addition, times `rank`; by default `rank`.

    Raises:
        ValueError: If a layer is none of these, the rank is below 1, or LoRA is
            enabled already.

    Example:
        >>> model = GPT2LM(GPT2Config(vocab_size=9, context_length=4, num_layers=2,
        ...                           num_heads=1, hidden_dim=4))
        >>> enable_lora(model, rank=2)
        >>> [tuple(variable.shape) for variable in model.trainable_variables]
        [(12, 2), (2, 4), (12, 2), (2, 4)]
    """
    unknown = sorted(set(layers) - set(LAYERS))
    if unknown or not layers or isinstance(layers, str):
        raise ValueError(
            f"`layers` must be some of {', '.join(LAYERS)}. Received: layers={layers!r}. "
            'Use, for example, layers=["qkv", "output_projection"].'
        )
    if rank < 1:
        raise ValueError(f"`rank` must be at least 1. Received: rank={rank}. Use, for example, 8.")
    if any(True for _ in _adapted(model)):
        raise ValueError(
            "LoRA is enabled once. Received: a model that has it. "
            "Call merge_lora first, or load the model again."
        )
    for variable in model.weights:
        variable.trainable = False
    for layer in _projections(model, layers):
        layer.enable_lora(rank, lora_alpha=alpha)
    _forget_traces(model)


def merge_lora(model: GPT2Model) -> None:
    """Makes what LoRA has added part of the kernels; the model is an ordinary one again.

    It computes what it did, and every weight can be trained again after `compile()`.

    Raises:
        ValueError: If LoRA is not enabled.
    """
    adapted = list(_adapted(model))
    if not adapted:
        raise ValueError(
            "There must be something to merge. Received: a model without LoRA. "
            "Call enable_lora and train it first."
        )
    for layer in adapted:
        raw_kernel(layer).assign(layer.merged_kernel())
        remove_weights(layer, (layer.lora_kernel_a, layer.lora_kernel_b))
        layer.lora_enabled = False
        layer.lora_rank = layer.lora_alpha = None
    unfreeze(model)
    _forget_traces(model)


def save_adapter(model: GPT2Model, directory: str | Path) -> None:
    """Writes what LoRA has added to a model, and nothing else.

    The directory is one of Hugging Face's PEFT: `adapter_config.json` and
    `adapter_model.safetensors`.

    Args:
        model: A model with LoRA.
        directory: The new directory.

    Raises:
        ValueError: If LoRA is not enabled.
        FileExistsError: If the directory holds something.
    """
    from gpt2_keras import checkpoints

    checkpoints.save_adapter(model, directory)


def load_adapter(model: GPT2Model, directory: str | Path) -> None:
    """Enables LoRA on a model with the weights of `save_adapter`, or of PEFT.

    Args:
        model: The model that the adapter was trained on, without LoRA.
        directory: The adapter's directory.

    Raises:
        FileNotFoundError: If there is no adapter.
        ValueError: If it is not for this model, is of another kind than LoRA, or
            LoRA is enabled already.
    """
    from gpt2_keras import checkpoints

    adapter = checkpoints.read_adapter(directory)
    enable_lora(model, adapter.rank, adapter.layers, alpha=adapter.alpha)
    try:
        checkpoints.fill_adapter(model, directory)
    except ValueError:
        merge_lora(model)  # what is new is zero: the model is as it was
        raise


def _projections(model: GPT2Model, layers: Collection[str]) -> Iterator[Any]:
    for block in model.decoder.blocks:
        for name in layers:
            yield getattr(getattr(block, LAYERS[name]), name)


def _adapted(model: GPT2Model) -> Iterator[Any]:
    """Yields the layers that have LoRA."""
    return (layer for layer in _projections(model, LAYERS) if layer.lora_enabled)


def _forget_traces(model: GPT2Model) -> None:
    """Drops every compiled function of a model: each computes with the weights it was made for."""
    model.train_function = model.test_function = model.predict_function = None
    model.__dict__.pop("_kept_traces", None)  # of generation/traces.py
