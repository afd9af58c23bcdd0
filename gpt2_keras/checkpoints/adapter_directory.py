"""LoRA adapters on disk, in the layout of Hugging Face's PEFT."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.numpy import save_file

from gpt2_keras.atomic import new_directory
from gpt2_keras.checkpoints.huggingface import PREFIX
from gpt2_keras.checkpoints.huggingface_files import read_safetensors
from gpt2_keras.checkpoints.json_files import read_json, write_json
from gpt2_keras.checkpoints.tensors import StoredVariable, fill
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_number

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_PREFIX = f"base_model.model.{PREFIX}"
# Our names of the layers of a block → Hugging Face's.
_MODULES = {
    "qkv": "attn.c_attn",
    "output_projection": "attn.c_proj",
    "expand": "mlp.c_fc",
    "project": "mlp.c_proj",
}
# The options of PEFT with which an adapter computes what Keras' LoRA does.
_REQUIRED = {
    "peft_type": "LORA",
    "bias": "none",
    "use_rslora": False,
    "use_dora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "layers_to_transform": None,
    "modules_to_save": None,
}


class Adapter(NamedTuple):
    """The description of a LoRA adapter, without its weights.

    Args:
        rank: The rank of its matrices.
        alpha: Its scale, times the rank.
        layers: The names of the layers it belongs to.
    """

    rank: int
    alpha: float
    layers: tuple[str, ...]


def save_adapter(model: GPT2Model, directory: str | Path) -> None:
    """Writes the LoRA weights of a model; see `gpt2_keras.finetuning.save_adapter`."""
    stored = dict(_stored_variables(model))
    if not stored:
        raise ValueError(
            "The model has no LoRA weights to save. Call enable_lora and train it first."
        )
    adapted = {name: layer for name, layer in _layers(model) if layer.lora_enabled}
    modules = sorted({name.split(".", 2)[2] for name in adapted})
    layer = next(iter(adapted.values()))
    config = {
        **_REQUIRED,
        "task_type": "CAUSAL_LM",
        "r": layer.lora_rank,
        "lora_alpha": layer.lora_alpha,
        "lora_dropout": 0.0,
        "target_modules": modules,
        "fan_in_fan_out": True,  # of a base model of Hugging Face's, whose kernels are (in, out)
        "base_model_name_or_path": None,
        "inference_mode": True,
    }
    with new_directory(directory) as unfinished:
        write_json(unfinished / CONFIG_FILE, config)
        weights = {name: variable.read() for name, variable in stored.items()}
        save_file(weights, unfinished / WEIGHTS_FILE, metadata={"format": "pt"})


def read_adapter(directory: str | Path) -> Adapter:
    """Reads the description of an adapter.

    Raises:
        FileNotFoundError: If a file of it is missing.
        TypeError: If a number of it is none.
        ValueError: If it is another method than Keras' LoRA, or not for a GPT-2.
    """
    directory = Path(directory)
    missing = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{directory} has no {' and no '.join(missing)}, which an adapter consists of. "
            "Name a directory that `save_adapter` or PEFT wrote."
        )
    path = directory / CONFIG_FILE
    config = read_json(path)
    for key, value in _REQUIRED.items():
        # PEFT writes null and an empty object for the same.
        if (config.get(key, value) or None) != (value or None):
            raise ValueError(
                f"{path} has {key}={config[key]!r}, and Keras' LoRA needs {value!r}. "
                "Merge the adapter into its base model with PEFT, and load that."
            )
    modules, rank = config.get("target_modules"), config.get("r")
    targets = [modules] if isinstance(modules, str) else modules
    targets = targets if isinstance(targets, list) else []
    layers = tuple(
        ours
        for ours, theirs in _MODULES.items()
        if any(f".{theirs}".endswith(f".{target}") for target in targets)
    )
    if not layers or type(rank) is not int or rank < 1:
        raise ValueError(
            f"{path} has r={rank!r} and target_modules={modules!r}, and an adapter of a GPT-2 "
            f"has a positive integer and some of {', '.join(_MODULES.values())}. "
            "Use an adapter that was trained on a GPT-2."
        )
    # Before the matrices are made: memory is taken for what is on disk.
    shapes = read_safetensors(directory / WEIGHTS_FILE).shapes
    if others := [f"{name} {shape}" for name, shape in shapes.items() if rank not in shape]:
        raise ValueError(
            f"{path} has r={rank}, and {directory / WEIGHTS_FILE} has {', '.join(others):.200}. "
            "Each matrix of a LoRA adapter has one axis of size r. Use the two files of one "
            "adapter."
        )
    alpha = check_number(f"lora_alpha of {path}", config.get("lora_alpha", rank), above=0)
    return Adapter(rank, alpha, layers)


def fill_adapter(model: GPT2Model, directory: str | Path) -> None:
    """Sets the LoRA weights of a model to those of an adapter.

    Raises:
        ValueError: If the tensors do not fit the layers of the model that have LoRA.
    """
    tensors = read_safetensors(Path(directory) / WEIGHTS_FILE)
    fill(dict(_stored_variables(model)), tensors, config_file=CONFIG_FILE)


def _layers(model: GPT2Model) -> Iterator[tuple[str, Any]]:
    """Yields the projections of a model by Hugging Face's names."""
    for index, block in enumerate(model.decoder.blocks):
        for name, module in _MODULES.items():
            sublayer = block.attention if module.startswith("attn") else block.feed_forward
            yield f"h.{index}.{module}", getattr(sublayer, name)


def _stored_variables(model: GPT2Model) -> Iterator[tuple[str, StoredVariable]]:
    """Yields the LoRA weights by PEFT's names; its A multiplies the input, as Keras' B does."""
    for name, layer in _layers(model):
        if layer.lora_enabled:
            yield f"{_PREFIX}{name}.lora_A.weight", StoredVariable(layer.lora_kernel_b)
            yield f"{_PREFIX}{name}.lora_B.weight", StoredVariable(layer.lora_kernel_a)
