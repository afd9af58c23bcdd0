"""The model directory, which has Hugging Face's layout of a GPT-2."""

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
from gpt2_keras.generation_config import FILE_NAME
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_flag, check_path

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def save(model: GPT2Model, directory: str | Path, *, overwrite: bool = False) -> None:
    """Writes a model directory.

    It holds `config.json`, `model.safetensors` (float32), `generation_config.json`
    and, if the model has a tokenizer, `vocab.json`, `merges.txt`,
    `tokenizer.json` and `tokenizer_config.json`. It is written under another name
    and renamed at the end, so it is complete or does not exist.

    Args:
        model: The model.
        directory: The new directory.
        overwrite: Whether to replace a model directory that exists.

    Raises:
        TypeError: If an argument is of the wrong type.
        FileExistsError: If the directory is not empty, and `overwrite` is False or
            it is not a model directory.
        OSError: If a file cannot be written.

    Example:
        >>> model = GPT2LM(GPT2Config(vocab_size=9, context_length=4, num_layers=1,
        ...                           num_heads=1, hidden_dim=4))
        >>> directory = Path(tempfile.mkdtemp()) / "model"
        >>> model.save_to_preset(directory)
        >>> GPT2LM.from_preset(directory).config == model.config
        True
    """
    directory = Path(check_path("directory", directory))
    config = directory / CONFIG_FILE
    replace = check_flag("overwrite", overwrite) and config.is_file() and _is_gpt2(config)
    with new_directory(directory, replace=replace) as unfinished:
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
        config_changes: Keys of `config.json` to set to another value.
        head: Weights that are not the model's, by their full names.

    Raises:
        OSError: If a file cannot be written.
    """
    tokenizer = model.tokenizer
    end_token_id = None if tokenizer is None else tokenizer.end_token_id
    config = huggingface.config_to_json(model.config, end_token_id)
    generation = model.generation_config  # what a checkpoint had is written as it was
    write_json(directory / CONFIG_FILE, {**config, **generation.token_ids, **config_changes})
    ends = {"bos_token_id": end_token_id, "eos_token_id": end_token_id, **generation.token_ids}
    contents = dict(generation.contents) or {"_from_model_config": True, **ends}
    write_json(directory / FILE_NAME, contents)
    variables = {**huggingface.stored_variables(model), **head}
    weights = {name: stored.read() for name, stored in variables.items()}
    # transformers loads no file whose metadata does not name a framework.
    try:
        save_file(weights, directory / WEIGHTS_FILE, metadata={"format": "pt"})
    except SafetensorError as error:  # for example a full disk
        raise OSError(
            f"Writing {directory / WEIGHTS_FILE} failed: {error}. "
            "Make room on the disk, and save again."
        ) from error
    if tokenizer is not None:
        tokenizer.save(directory)


def _is_gpt2(path: Path) -> bool:
    return read_json(path).get("model_type") == huggingface.MODEL_TYPE
