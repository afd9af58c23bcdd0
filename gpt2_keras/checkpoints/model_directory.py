"""The model directory: Hugging Face's own GPT-2 layout."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import save_file

from gpt2_keras.atomic import new_directory
from gpt2_keras.checkpoints import huggingface
from gpt2_keras.checkpoints.json_files import read_json, write_json
from gpt2_keras.checkpoints.tensors import StoredVariable
from gpt2_keras.model import GPT2Model

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
GENERATION_FILE = "generation_config.json"


def save(model: GPT2Model, directory: str | Path, *, overwrite: bool = False) -> None:
    """Writes a model directory that every tool of the ecosystem reads.

    It holds `config.json`, `model.safetensors` (float32), `generation_config.json`
    and, if the model has a tokenizer, `vocab.json`, `merges.txt`,
    `tokenizer.json` and `tokenizer_config.json`. It is written beside its final
    place and renamed, so it is there in full or not at all.

    Args:
        model: The model.
        directory: The new directory.
        overwrite: Whether a model directory already there may be replaced.

    Raises:
        FileExistsError: If the directory holds something, and `overwrite` is
            False or it is not a model directory.

    Example:
        >>> model = GPT2LM(GPT2Config(vocab_size=9, context_length=4, num_layers=1,
        ...                           num_heads=1, hidden_dim=4))
        >>> place = Path(tempfile.mkdtemp()) / "model"
        >>> model.save_to_preset(place)
        >>> GPT2LM.from_preset(place).config == model.config
        True
    """
    directory = Path(directory)
    ours = overwrite and (directory / CONFIG_FILE).is_file() and _is_gpt2(directory / CONFIG_FILE)
    with new_directory(directory, replace=ours) as unfinished:
        write_files(unfinished, model)


def write_files(
    directory: Path,
    model: GPT2Model,
    *,
    config_changes: Mapping[str, Any] = MappingProxyType({}),
    head: Mapping[str, StoredVariable] = MappingProxyType({}),
) -> None:
    """Writes the files of a model into a directory.

    Args:
        directory: An empty directory.
        model: The model.
        config_changes: Keys of `config.json` to set otherwise.
        head: Weights that are not the model's, by their whole names.

    Raises:
        OSError: If a file cannot be written.
    """
    tokenizer = model.tokenizer
    end_token_id = None if tokenizer is None else tokenizer.end_token_id
    config = huggingface.config_to_json(model.config, end_token_id)
    write_json(directory / CONFIG_FILE, {**config, **config_changes})
    ends = {"bos_token_id": end_token_id, "eos_token_id": end_token_id}
    write_json(directory / GENERATION_FILE, {"_from_model_config": True, **ends})
    variables = {**huggingface.stored_variables(model), **head}
    weights = {name: stored.read() for name, stored in variables.items()}
    # transformers refuses a file whose metadata does not name a framework.
    try:
        save_file(weights, directory / WEIGHTS_FILE, metadata={"format": "pt"})
    except SafetensorError as error:  # a full disk, for one
        raise OSError(
            "The weights must fit onto the disk. "
            f"Received: {directory / WEIGHTS_FILE}: {error}. Make room, and save again."
        ) from error
    if tokenizer is not None:
        tokenizer.save(directory)


def _is_gpt2(path: Path) -> bool:
    return read_json(path).get("model_type") == huggingface.MODEL_TYPE
