"""Directories of Hugging Face's layout: reads every file format of their weights."""

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
from safetensors import SafetensorError, safe_open

from gpt2_keras.checkpoints import huggingface
from gpt2_keras.checkpoints.damaged import damaged
from gpt2_keras.checkpoints.h5_files import open_h5
from gpt2_keras.checkpoints.json_files import read_json
from gpt2_keras.checkpoints.tensors import Checkpoint, Tensors, wrong_dtype
from gpt2_keras.checkpoints.torch_files import named_tensors, read_torch_file
from gpt2_keras.generation_config import FILE_NAME, TOKEN_IDS, GenerationConfig
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.files import FILE_PAIRS
from gpt2_keras.tokenizer.settings import SINGLE_FILE

CONFIG_FILE = "config.json"
_VOCABULARY_FILES = (SINGLE_FILE, *(name for pair in FILE_PAIRS for name in pair))
_SAFETENSORS_DTYPES = ("F64", "F32", "F16", "BF16")


def weights_file(directory: Path) -> Path | None:
    """Returns the file with the weights of a directory, the first of `READERS` that exists."""
    return next((directory / name for name in READERS if (directory / name).is_file()), None)


def open_directory(
    directory: Path, tokenizer: GPT2Tokenizer | None, changes: dict[str, Any]
) -> Checkpoint:
    """Opens a directory of Hugging Face's layout, which is also that of our model directory."""
    path = directory / CONFIG_FILE
    contents = read_json(path)
    config = huggingface.config_from_json(contents, source=str(path), **changes)
    num_rows = contents["vocab_size"]  # on disk, whatever the changes

    def fill(model: GPT2Model) -> None:
        tensors = open_weights(directory)
        tensors = tensors.without_padding(num_rows, model.config.vocab_size)
        huggingface.fill_model(model, tensors, CONFIG_FILE)

    generation_config = read_generation_config(directory, contents)
    return Checkpoint(
        config, tokenizer or find_tokenizer(directory), fill, generation_config, directory
    )


def read_generation_config(directory: Path, config: dict[str, Any]) -> GenerationConfig:
    """Returns what the files of a directory say of generation.

    Args:
        directory: The directory.
        config: The contents of its `config.json`.
    """
    path = directory / FILE_NAME
    contents = read_json(path) if path.is_file() else {}
    token_ids = {name: config[name] for name in TOKEN_IDS if config.get(name) is not None}
    found = GenerationConfig(contents, token_ids, str(path if contents else CONFIG_FILE))
    if found.not_followed:
        names = ", ".join(f"{name}={value!r}" for name, value in found.not_followed.items())
        warnings.warn(
            f"{path} has {names:.200}, which `generate` does not do; saving keeps it. "
            "Give `generate` the arguments you need.",
            stacklevel=2,
        )
    return found


def open_weights(directory: Path) -> Tensors:
    """Opens the weights of a directory."""
    path = weights_file(directory)
    assert path is not None  # noqa: S101 -- the format is detected by it
    return READERS[path.name](path)


def find_tokenizer(directory: Path) -> GPT2Tokenizer | None:
    """Returns the tokenizer of a directory, if it has one."""
    if any((directory / name).is_file() for name in _VOCABULARY_FILES):
        return GPT2Tokenizer.from_directory(directory)
    return None


def read_safetensors(path: Path) -> Tensors:
    """Opens a safetensors file."""
    try:
        with safe_open(path, framework="np") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise damaged(path, "safetensors file", error) from error

    def read(name: str) -> Any:
        # Opened again each time: what is mapped counts as memory as long as the file is open.
        with safe_open(path, framework="np") as file:
            dtype = file.get_slice(name).get_dtype()
            if dtype not in _SAFETENSORS_DTYPES:  # NumPy has no dtype for some of the others
                raise wrong_dtype(path, name, dtype)
            return file.get_tensor(name)

    return Tensors(path, shapes, read)


def _read_torch(path: Path) -> Tensors:
    """Opens a `pytorch_model.bin`."""
    contents = read_torch_file(path)
    if not isinstance(contents, dict):
        raise ValueError(
            f"{path} holds a {type(contents).__name__}, and a pytorch_model.bin holds a "
            "dictionary of tensors. Use the file that `save_pretrained` writes."
        )
    stored = named_tensors(contents)
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    return Tensors(path, shapes, lambda name: stored[name].read())


# The path that `TFGPT2LMHeadModel.save_pretrained` of transformers 4 gives a tensor:
# transformer/tfgp_t2lm_head_model/transformer/h_._0/attn/c_attn/weight:0
_H5_NAME = re.compile(
    r"(?:.*/)?transformer/(?:h_\._(?P<block>\d+)/)?(?P<part>wte|wpe|(?:ln_1|ln_2|ln_f)|"
    r"(?:attn|mlp)/\w+)/(?P<leaf>weight|bias|gamma|beta|embeddings):0"
)
_H5_LEAVES = {"gamma": "weight", "beta": "bias", "embeddings": "weight"}


def _read_h5(path: Path) -> Tensors:
    """Opens the `tf_model.h5` of a TensorFlow model of transformers 4."""
    paths: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}

    def visit(h5_path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            name = _h5_to_name(h5_path)
            paths[name] = h5_path
            # The bias of its `Conv1D` is (1, size).
            is_bias = name.endswith(".bias") and item.ndim == 2
            shapes[name] = tuple(item.shape[1:] if is_bias else item.shape)

    with open_h5(path) as file:
        file.visititems(visit)

    def read(name: str) -> Any:
        with h5py.File(path) as file:  # checked above
            return file[paths[name]][()].reshape(shapes[name])

    return Tensors(path, shapes, read)


def _h5_to_name(h5_path: str) -> str:
    """Returns the name of a tensor in PyTorch, or its path if it has none there."""
    found = _H5_NAME.fullmatch(h5_path)
    if found is None:
        return h5_path
    block = "" if found["block"] is None else f"h.{found['block']}."
    leaf = _H5_LEAVES.get(found["leaf"], found["leaf"])
    return f"{block}{found['part'].replace('/', '.')}.{leaf}"


def _read_shards(path: Path, open_shard: Callable[[Path], Tensors]) -> Tensors:
    """Opens the files that an index lists."""
    names = read_json(path).get("weight_map")
    if not isinstance(names, dict) or not names or not all(map(_is_file_name, names.values())):
        raise ValueError(
            f'{path} has "weight_map": {json.dumps(names):.80}, and an index maps names of '
            "tensors to names of files beside it there. Get the file again."
        )
    files = sorted({path.with_name(name) for name in names.values()})
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{path.parent} has no {', no '.join(missing)}, which {path.name} lists. "
            "Copy or download the missing files too."
        )
    shards = [open_shard(file) for file in files]
    shapes = {name: shape for shard in shards for name, shape in shard.shapes.items()}
    shard_of = {name: shard for shard in shards for name in shard.shapes}
    return Tensors(path, shapes, lambda name: shard_of[name].read(name))


def _is_file_name(name: Any) -> bool:
    """Returns whether a value of an index names a file in the same directory."""
    return isinstance(name, str) and name not in ("", "..") and Path(name).name == name


READERS: dict[str, Callable[[Path], Tensors]] = {
    "model.safetensors": read_safetensors,
    "model.safetensors.index.json": lambda path: _read_shards(path, read_safetensors),
    "pytorch_model.bin": _read_torch,
    "pytorch_model.bin.index.json": lambda path: _read_shards(path, _read_torch),
    "tf_model.h5": _read_h5,
}
