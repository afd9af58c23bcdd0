"""Checkpoints of nanoGPT: the `ckpt.pt` of its train.py."""

from pathlib import Path
from typing import Any

import numpy as np

from gpt2_keras.checkpoints import huggingface
from gpt2_keras.checkpoints.huggingface_files import find_tokenizer
from gpt2_keras.checkpoints.json_files import renamed_fields
from gpt2_keras.checkpoints.tensors import Checkpoint, StoredVariable, Tensors, fill
from gpt2_keras.checkpoints.torch_files import named_tensors, read_torch_file
from gpt2_keras.config import GPT2Config
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer import GPT2Tokenizer

CHECKPOINT_FILE = "ckpt.pt"
# karpathy/nanoGPT model.py, GPTConfig: "GPT-2 vocab_size of 50257, padded up to nearest
# multiple of 64 for efficiency".
PADDED_VOCAB_SIZE = 50304
# karpathy/nanoGPT model.py, GPTConfig → ours
_SIZES = {
    "vocab_size": "vocab_size",
    "block_size": "context_length",
    "n_layer": "num_layers",
    "n_head": "num_heads",
    "n_embd": "hidden_dim",
}
_COMPILED = "_orig_mod."  # the prefix that torch.compile gives every name
_EMBEDDINGS = "transformer.wte.weight"


def open_directory(
    directory: Path, tokenizer: GPT2Tokenizer | None, changes: dict[str, Any]
) -> Checkpoint:
    """Opens the `ckpt.pt` of nanoGPT's out_dir.

    Padding rows of the vocabulary are left out as with every format, and without a tokenizer
    those that pad 50257 rows to 50304.
    """
    path = directory / CHECKPOINT_FILE
    contents = read_torch_file(path)
    parts = contents if isinstance(contents, dict) else {}
    sizes, state = parts.get("model_args"), parts.get("model")
    if not isinstance(sizes, dict) or not isinstance(state, dict):
        found = ", ".join(map(str, parts)) or type(contents).__name__
        raise ValueError(
            f"{path} holds {found:.200}, and a checkpoint of nanoGPT's train.py holds the "
            "dictionaries `model` and `model_args`. Use the ckpt.pt of its out_dir."
        )
    tokenizer = tokenizer or find_tokenizer(directory)
    fields = renamed_fields(sizes, _SIZES, f"`model_args` of {path}")
    fields["dropout_rate"] = sizes.get("dropout", 0.0)
    if tokenizer is None and sizes["vocab_size"] == PADDED_VOCAB_SIZE:
        fields["vocab_size"] = GPT2Config.vocab_size
    config = GPT2Config(**{**fields, **changes})
    tensors = _tensors(path, state)
    has_biases = bool(sizes.get("bias", True))

    def fill_model(model: GPT2Model) -> None:
        unpadded = tensors.without_padding(sizes["vocab_size"], model.config.vocab_size)
        _fill(model, unpadded, has_biases)

    return Checkpoint(config, tokenizer, fill_model, directory=directory)


def _tensors(path: Path, state: dict[str, Any]) -> Tensors:
    """Returns the stored tensors by the names that they have without `torch.compile`."""
    stored = {name.removeprefix(_COMPILED): tensor for name, tensor in named_tensors(state).items()}
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    return Tensors(path, shapes, lambda name: stored[name].read())


def _fill(model: GPT2Model, tensors: Tensors, has_biases: bool) -> None:
    """Sets the weights of a model; without biases on disk they are zero."""
    # Kernels are (out, in) in its `nn.Linear`, as in our layers; the names are Hugging Face's.
    variables = {
        name: StoredVariable(stored.variable)
        for name, stored in huggingface.stored_variables(model).items()
    }
    huggingface.check_output(tensors, _EMBEDDINGS)
    stored = {name: v for name, v in variables.items() if has_biases or not name.endswith(".bias")}
    fill(stored, tensors, ignored=huggingface.is_not_needed, config_file="`model_args`")
    for name in set(variables) - set(stored):
        variables[name].assign(np.zeros(variables[name].shape, "float32"))
