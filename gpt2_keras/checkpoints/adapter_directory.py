"""A LoRA adapter on disk, as Hugging Face's PEFT keeps it."""

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

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_HOME = f"base_model.model.{PREFIX}"
# Our names of the layers of a block → Hugging Face's.
_MODULES = {
    "qkv": "attn.c_attn",
    "output_projection": "attn.c_proj",
    "expand": "mlp.c_fc",
    "project": "mlp.c_proj",
}
# What would make an adapter compute otherwise than Keras' LoRA.
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
    """What LoRA added to a model, on disk.

    Args:
        rank: Its rank.
        alpha: What it is scaled by, times the rank.
        layers: The names of the layers it is added to.
    """

    rank: int
    alpha: float
    layers: tuple[str, ...]


def save_adapter(model: GPT2Model, directory: str | Path) -> None:
    """Writes what LoRA added to a model; see `gpt2_keras.finetuning.save_adapter`."""
    stored = dict(_stored_variables(model))
    if not stored:
        raise ValueError(
            "An adapter is what LoRA has added to a model. Received: a model without LoRA. "
            "Call enable_lora and train it first."
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
    """Reads what an adapter is, without its weights.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not of LoRA as Keras has it, or not of a GPT-2.
    """
    directory = Path(directory)
    missing = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"An adapter is a directory of {CONFIG_FILE} and {WEIGHTS_FILE}. "
            f"Received: {directory} without {' and '.join(missing)}. "
            "Name what `save_adapter` or PEFT wrote."
        )
    path = directory / CONFIG_FILE
    config = read_json(path)
    for key, value in _REQUIRED.items():
        # PEFT writes null and an empty object for the same.
        if (config.get(key, value) or None) != (value or None):
            raise ValueError(
                f"An adapter for Keras' LoRA has {key}={value!r}. "
                f"Received: {key}={config[key]!r} in {path}. "
                "Merge it into its base model with PEFT, and load that."
            )
    wanted = config.get("target_modules")
    targets = [wanted] if isinstance(wanted, str) else wanted or []
    layers = tuple(
        ours
        for ours, theirs in _MODULES.items()
        if any(f".{theirs}".endswith(f".{target}") for target in targets)
    )
    if not layers or not isinstance(config.get("r"), int):
        raise ValueError(
            f"An adapter of a GPT-2 has `r` and `target_modules` of {', '.join(_MODULES.values())}."
            f" Received: r={config.get('r')!r}, target_modules={wanted!r} in {path}. "
            "Use an adapter that was trained on a GPT-2."
        )
    return Adapter(config["r"], config.get("lora_alpha", config["r"]), layers)


def fill_adapter(model: GPT2Model, directory: str | Path) -> None:
    """Sets the LoRA weights of a model to those of an adapter.

    Raises:
        ValueError: If the tensors are not those of the model's layers with LoRA.
    """
    tensors = read_safetensors(Path(directory) / WEIGHTS_FILE)
    fill(dict(_stored_variables(model)), tensors, config_file=CONFIG_FILE)


def _layers(model: GPT2Model) -> Iterator[tuple[str, Any]]:
    """Yields the projections of a model by Hugging Face's names."""
    for index, block in enumerate(model.decoder.blocks):
        for name, module in _MODULES.items():
            part = block.attention if module.startswith("attn") else block.feed_forward
            yield f"h.{index}.{module}", getattr(part, name)


def _stored_variables(model: GPT2Model) -> Iterator[tuple[str, StoredVariable]]:
    """Yields the LoRA weights by PEFT's names; their A is what multiplies the input, Keras' B."""
    for name, layer in _layers(model):
        if layer.lora_enabled:
            yield f"{_HOME}{name}.lora_A.weight", StoredVariable(layer.lora_kernel_b)
            yield f"{_HOME}{name}.lora_B.weight", StoredVariable(layer.lora_kernel_a)
