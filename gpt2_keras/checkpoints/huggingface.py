"""Hugging Face's names for the config and the weights of a GPT-2."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from gpt2_keras.checkpoints.json_files import renamed_fields
from gpt2_keras.checkpoints.tensors import StoredVariable, Tensors, fill
from gpt2_keras.config import GPT2Config
from gpt2_keras.layers.initializers import KERNEL_STDDEV, LAYER_NORM_EPSILON
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api.keras import raw_kernel
from gpt2_keras.validation import check_number

MODEL_TYPE = "gpt2"
PREFIX = "transformer."  # GPT2LMHeadModel has it, the bare GPT2Model has not

# transformers models/gpt2/configuration_gpt2.py → ours
_SIZES = {
    "vocab_size": "vocab_size",
    "n_positions": "context_length",
    "n_layer": "num_layers",
    "n_head": "num_heads",
    "n_embd": "hidden_dim",
}
_OPTIONAL_SIZES = {"n_inner": "intermediate_dim"}
_DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
# Keys that change what a model computes: what transformers assumes where the key is absent,
# and the values with which it computes what our forward pass does.
_REQUIRED = {
    "activation_function": ("gelu_new", ("gelu_new", "gelu_pytorch_tanh")),
    "layer_norm_epsilon": (LAYER_NORM_EPSILON, (LAYER_NORM_EPSILON,)),
    "scale_attn_weights": (True, (True,)),
    "scale_attn_by_inverse_layer_idx": (False, (False,)),
    "add_cross_attention": (False, (False,)),
    # An output that is untied and yet equal is accepted: `fill_model` compares the numbers.
    "tie_word_embeddings": (True, (True, False)),
}
# Our own key for a field that Hugging Face's config has not; its readers ignore it.
_POSITION_KEY = "gpt2_keras_position_embedding"


def config_to_json(config: GPT2Config, end_token_id: int | None) -> dict[str, Any]:
    """Returns the contents of Hugging Face's `config.json` for a model."""
    fields = config.to_dict()
    names = {**_SIZES, **_OPTIONAL_SIZES}
    contents: dict[str, Any] = {theirs: fields[ours] for theirs, ours in names.items()}
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
        **changes: Fields of `GPT2Config` to set to another value.

    Raises:
        ValueError: If it is of another model, of a GPT-2 that computes something else
            than OpenAI's, or lacks a size.
    """
    if (model_type := contents.get("model_type")) != MODEL_TYPE:
        raise ValueError(
            f'{source} has "model_type": {model_type!r}, and a GPT-2 has {MODEL_TYPE!r}. '
            "Name the directory of a GPT-2."
        )
    for key, (default, accepted) in _REQUIRED.items():
        if (value := contents.get(key, default)) not in accepted:
            raise ValueError(
                f"{source} has {key}={value!r}, and GPT-2 has {accepted[0]!r}. "
                "A model that computes differently cannot be loaded as a GPT-2."
            )
    fields = renamed_fields(contents, _SIZES, source)
    fields |= {ours: contents.get(theirs) for theirs, ours in _OPTIONAL_SIZES.items()}
    fields["position_embedding"] = contents.get(_POSITION_KEY, "learned")
    rates = {
        check_number(f"{key} of {source}", contents.get(key, GPT2Config.dropout_rate))
        for key in _DROPOUTS
    }
    if len(rates) > 1 and "dropout_rate" not in changes:
        raise ValueError(
            f"{source} has the dropout rates {sorted(rates)} in {', '.join(_DROPOUTS)}, and "
            f"GPT-2 has one. Choose it, for example with dropout_rate={max(rates)}."
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
        prefix = f"{PREFIX}h.{index}"
        yield from _norm(f"{prefix}.ln_1", block.attention_norm)
        yield from _projection(f"{prefix}.attn.c_attn", block.attention.qkv)
        yield from _projection(f"{prefix}.attn.c_proj", block.attention.output_projection)
        yield from _norm(f"{prefix}.ln_2", block.feed_forward_norm)
        yield from _projection(f"{prefix}.mlp.c_fc", block.feed_forward.expand)
        yield from _projection(f"{prefix}.mlp.c_proj", block.feed_forward.project)
    yield from _norm(f"{PREFIX}ln_f", model.decoder.final_norm)


def _projection(name: str, layer: Any) -> Iterator[tuple[str, StoredVariable]]:
    # Kernels are (in, out) in Hugging Face's `Conv1D`, as in OpenAI's `conv1d`; ours (out, in).
    yield f"{name}.weight", StoredVariable(raw_kernel(layer), transposed=True, kernel_of=layer)
    yield f"{name}.bias", StoredVariable(layer.bias)


def _norm(name: str, layer: Any) -> Iterator[tuple[str, StoredVariable]]:
    yield f"{name}.weight", StoredVariable(layer.gamma)
    yield f"{name}.bias", StoredVariable(layer.beta)


# Buffers of old checkpoints that no model needs: the causal mask and its fill value.
_BUFFERS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")
# The output projection, which is tied to wte: a copy of it is redundant.
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
        tensors: The stored tensors.
        config_file: The file that gives their number and shapes, for error messages.
        head: Weights that are not the model's, by their full names.

    Raises:
        ValueError: If a tensor is missing, unexpected or of another shape, or the
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
    """Returns whether no model needs a stored tensor."""
    return name == OUTPUT or _BUFFERS.fullmatch(name.removeprefix(PREFIX)) is not None


def check_output(tensors: Tensors, embeddings: str) -> None:
    """Checks that the output projection, if stored, is equal to the token embeddings.

    It is called before the weights are read, when memory is free.

    Raises:
        ValueError: If both tensors are stored and not equal.
    """
    if not {OUTPUT, embeddings} <= set(tensors.shapes):
        return
    output, table = tensors.read(OUTPUT), tensors.read(embeddings)
    if output.shape != table.shape or not np.array_equal(output, table):
        raise ValueError(
            f"{OUTPUT} {output.shape} and {embeddings} {table.shape} of {tensors.source} "
            "differ, and the output projection of GPT-2 is its token embeddings. "
            "A model with another output projection cannot be loaded as a GPT-2."
        )
