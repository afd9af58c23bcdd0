"""Hugging Face's names for the parts of a GPT-2, and ours."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from gpt2_keras.checkpoints.tensors import StoredVariable, Tensors, fill
from gpt2_keras.config import GPT2Config
from gpt2_keras.layers.initializers import KERNEL_STDDEV, LAYER_NORM_EPSILON
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api import raw_kernel

MODEL_TYPE = "gpt2"
PREFIX = "transformer."  # GPT2LMHeadModel has it, the bare GPT2Model has not

# transformers models/gpt2/configuration_gpt2.py → ours
_SIZES = {
    "vocab_size": "vocab_size",
    "n_positions": "context_length",
    "n_layer": "num_layers",
    "n_head": "num_heads",
    "n_embd": "hidden_dim",
    "n_inner": "intermediate_dim",
}
_DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
# What must hold for our forward pass to be the one the weights were trained with.
# Each with what transformers assumes where the key is absent.
_REQUIRED = {
    "activation_function": ("gelu_new", ("gelu_new", "gelu_pytorch_tanh")),
    "layer_norm_epsilon": (LAYER_NORM_EPSILON, (LAYER_NORM_EPSILON,)),
    "scale_attn_weights": (True, (True,)),
    "scale_attn_by_inverse_layer_idx": (False, (False,)),
    "add_cross_attention": (False, (False,)),
    # An output that is untied and yet equal is accepted: `fill_model` looks at the numbers.
    "tie_word_embeddings": (True, (True, False)),
}
# Our own key for what Hugging Face's config cannot say; its readers pass it over.
_POSITION_KEY = "gpt2_keras_position_embedding"


def config_to_json(config: GPT2Config, end_token_id: int | None) -> dict[str, Any]:
    """Returns the contents of Hugging Face's `config.json` for a model."""
    fields = config.to_dict()
    contents: dict[str, Any] = {theirs: fields[ours] for theirs, ours in _SIZES.items()}
    contents |= dict.fromkeys(_DROPOUTS, config.dropout_rate)
    contents |= {key: default for key, (default, _) in _REQUIRED.items()}
    contents |= {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": MODEL_TYPE,
        "n_ctx": config.context_length,
        "initializer_range": KERNEL_STDDEV,
        "bos_token_id": end_token_id,
        "eos_token_id": end_token_id,
        "dtype": "float32",
    }
    if config.position_embedding != "learned":
        contents[_POSITION_KEY] = config.position_embedding
    return contents


def config_from_json(contents: dict[str, Any], source: str, **changes: Any) -> GPT2Config:
    """Returns the config of a Hugging Face `config.json`.

    Args:
        contents: The JSON object.
        source: Where it is from, for error messages.
        **changes: Fields of `GPT2Config` to set otherwise.

    Raises:
        ValueError: If it is no GPT-2, or one that computes differently from
            OpenAI's, or lacks a size.
    """
    if contents.get("model_type") != MODEL_TYPE:
        raise ValueError(
            f'A GPT-2 config has "model_type": "{MODEL_TYPE}". '
            f"Received: {contents.get('model_type')!r} in {source}. Name the directory of a GPT-2."
        )
    for key, (default, accepted) in _REQUIRED.items():
        if (value := contents.get(key, default)) not in accepted:
            raise ValueError(
                f"GPT-2 has {key}={accepted[0]!r}. Received: {key}={value!r} in {source}. "
                "A model that computes differently cannot be loaded as a GPT-2."
            )
    lacking = [key for key in _SIZES if key not in contents and key != "n_inner"]
    if lacking:
        raise ValueError(
            f"A GPT-2 config has the keys {', '.join(_SIZES)}. "
            f"Received: {source} without {', '.join(lacking)}. Get the file again."
        )
    fields = {ours: contents.get(theirs) for theirs, ours in _SIZES.items()}
    fields["position_embedding"] = contents.get(_POSITION_KEY, "learned")
    rates = {contents.get(key, GPT2Config.dropout_rate) for key in _DROPOUTS}
    if len(rates) > 1 and "dropout_rate" not in changes:
        raise ValueError(
            f"{', '.join(_DROPOUTS)} must be equal: GPT-2 has one dropout rate. "
            f"Received: {sorted(rates)} in {source}. Say which to use with dropout_rate=…"
        )
    fields["dropout_rate"] = rates.pop()
    return GPT2Config(**{**fields, **changes})


def stored_variables(model: GPT2Model) -> dict[str, StoredVariable]:
    """Returns every weight of a model by Hugging Face's name."""
    return dict(_stored_variables(model))


def _stored_variables(model: GPT2Model) -> Iterator[tuple[str, StoredVariable]]:
    yield f"{PREFIX}wte.weight", StoredVariable(model.token_embedding.embeddings)
    yield f"{PREFIX}wpe.weight", StoredVariable(model.position_embedding.embeddings)
    for index, block in enumerate(model.decoder.blocks):
        home = f"{PREFIX}h.{index}"
        yield from _norm(f"{home}.ln_1", block.attention_norm)
        yield from _projection(f"{home}.attn.c_attn", block.attention.qkv)
        yield from _projection(f"{home}.attn.c_proj", block.attention.output_projection)
        yield from _norm(f"{home}.ln_2", block.feed_forward_norm)
        yield from _projection(f"{home}.mlp.c_fc", block.feed_forward.expand)
        yield from _projection(f"{home}.mlp.c_proj", block.feed_forward.project)
    yield from _norm(f"{PREFIX}ln_f", model.decoder.final_norm)


def _projection(name: str, layer: Any) -> Iterator[tuple[str, StoredVariable]]:
    # Hugging Face's `Conv1D` keeps kernels as OpenAI's `conv1d` does, (in, out); ours is (out, in).
    yield f"{name}.weight", StoredVariable(raw_kernel(layer), transposed=True, kernel_of=layer)
    yield f"{name}.bias", StoredVariable(layer.bias)


def _norm(name: str, layer: Any) -> Iterator[tuple[str, StoredVariable]]:
    yield f"{name}.weight", StoredVariable(layer.gamma)
    yield f"{name}.bias", StoredVariable(layer.beta)


# Buffers that old checkpoints carry and no model needs: the causal mask and its fill value.
_BUFFERS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")
# The output projection. It is tied to wte, so a copy of it says nothing new.
OUTPUT = "lm_head.weight"


def fill_model(
    model: GPT2Model,
    tensors: Tensors,
    config_file: str,
    head: Mapping[str, StoredVariable] = MappingProxyType({}),
) -> None:
    """Sets a model's weights to tensors by Hugging Face's names, with or without the prefix.

    Args:
        model: The model.
        tensors: The stored ones.
        config_file: The file that says which there must be, for error messages.
        head: Weights that are not the model's, by their whole names.

    Raises:
        ValueError: If a tensor is missing, surplus or of another shape, or the
            output projection is not the token embeddings.
    """
    prefix = PREFIX if f"{PREFIX}wte.weight" in tensors.shapes else ""
    variables = {
        prefix + name.removeprefix(PREFIX): stored
        for name, stored in stored_variables(model).items()
    }
    check_output(tensors, f"{prefix}wte.weight")
    fill({**variables, **head}, tensors, ignored=is_not_needed, config_file=config_file)


def is_not_needed(name: str) -> bool:
    """Returns whether a stored tensor says nothing that a model needs."""
    return name == OUTPUT or _BUFFERS.fullmatch(name.removeprefix(PREFIX)) is not None


def check_output(tensors: Tensors, embeddings: str) -> None:
    """Refuses an output projection of its own; before the weights are read, when memory is free.

    Raises:
        ValueError: If both tensors are stored and not equal.
    """
    if not {OUTPUT, embeddings} <= set(tensors.shapes):
        return
    output, table = tensors.read(OUTPUT), tensors.read(embeddings)
    if output.shape != table.shape or not np.array_equal(output, table):
        raise ValueError(
            "GPT-2 reads and writes with the same embeddings. "
            f"Received: {tensors.source}, where {OUTPUT} {output.shape} is not equal to "
            f"{embeddings} {table.shape}. "
            "A model with an output projection of its own cannot be loaded as a GPT-2."
        )
