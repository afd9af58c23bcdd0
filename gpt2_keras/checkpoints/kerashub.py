"""KerasHub's GPT-2: its presets on disk and its models in memory, both ways."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gpt2_keras.atomic import new_directory
from gpt2_keras.checkpoints import huggingface
from gpt2_keras.checkpoints.json_files import read_json
from gpt2_keras.checkpoints.tensors import Checkpoint
from gpt2_keras.config import GPT2Config
from gpt2_keras.layers.initializers import uninitialized_weights
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.byte_alphabet import CHARACTER_TO_BYTE
from gpt2_keras.tokenizer.vocabulary import Vocabulary

Model = TypeVar("Model", bound=GPT2Model)

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.weights.h5"
TOKENIZER_FOLDER = "assets/tokenizer"
BACKBONE = "GPT2Backbone"
# keras_hub GPT2Backbone → ours
_SIZES = {
    "vocabulary_size": "vocab_size",
    "max_sequence_length": "context_length",
    "num_layers": "num_layers",
    "num_heads": "num_heads",
    "hidden_dim": "hidden_dim",
    "intermediate_dim": "intermediate_dim",
    "dropout": "dropout_rate",
}


def open_directory(
    directory: Path, tokenizer: GPT2Tokenizer | None, changes: dict[str, Any]
) -> Checkpoint:
    """Opens a preset of KerasHub, through KerasHub: it is in memory twice while it loads."""
    path = directory / CONFIG_FILE
    found = read_json(path).get("class_name")
    if found != BACKBONE:
        raise ValueError(
            f"The preset of a GPT-2 is of class {BACKBONE}. Received: {found!r} in {path}. "
            "Name the preset of a GPT-2."
        )
    import keras_hub

    try:
        backbone = keras_hub.models.GPT2Backbone.from_preset(str(directory))
    # h5py raises the first two, Keras' loading the others, for files that are damaged.
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"A preset of KerasHub must be complete. Received: {directory}: {error}. "
            "Save it with `save_to_preset` of KerasHub, or download it again."
        ) from error
    if tokenizer is None:
        tokenizer = _read_tokenizer(directory / TOKENIZER_FOLDER)
    config = _config(backbone, changes)
    return Checkpoint(config, tokenizer, lambda model: _copy(backbone, model))


def from_keras_hub(
    model: Any, *, model_class: type[Model], dtype: Any = None, **changes: Any
) -> Model:
    """Returns the model of a KerasHub model in memory.

    Args:
        model: A `keras_hub.models.GPT2CausalLM`, or a bare `GPT2Backbone`.
        model_class: `GPT2LM` or a subclass.
        dtype: Keras dtype or policy of ours.
        **changes: Fields of `GPT2Config` to set otherwise.

    Returns:
        A model with a copy of the weights, and with the tokenizer if there is one.

    Raises:
        TypeError: If it is neither.
    """
    backbone = getattr(model, "backbone", model)
    if type(backbone).__name__ != BACKBONE:
        raise TypeError(
            f"The model must be a GPT2CausalLM or {BACKBONE} of KerasHub. "
            f"Received: {type(model).__name__}. Pass keras_hub.models.GPT2CausalLM(...)."
        )
    preprocessor = getattr(model, "preprocessor", None)
    tokenizer = None
    if preprocessor is not None:
        with tempfile.TemporaryDirectory() as folder:
            preprocessor.tokenizer.save_assets(folder)
            tokenizer = _read_tokenizer(Path(folder))
    with uninitialized_weights():
        ours = model_class(_config(backbone, changes), tokenizer=tokenizer, dtype=dtype)
    _copy(backbone, ours)
    return ours


def to_keras_hub(model: GPT2Model) -> Any:
    """Returns a `keras_hub.models.GPT2CausalLM` with a copy of a model's weights.

    Its preprocessor has the model's tokenizer; without one there is none. Special
    tokens other than `<|endoftext|>` are plain tokens in KerasHub.
    """
    import keras_hub

    fields = model.config.to_dict()
    backbone = keras_hub.models.GPT2Backbone(
        **{theirs: fields[ours] for theirs, ours in _SIZES.items()}
    )
    stored = huggingface.stored_variables(model)
    for name, parts in _parts(backbone):
        for part, array in zip(parts, np.split(stored[name].read(), len(parts), -1), strict=True):
            part.assign(array.reshape(part.shape))
    return keras_hub.models.GPT2CausalLM(backbone, preprocessor=_preprocessor(model))


def save(model: GPT2Model, directory: str | Path) -> None:
    """Writes a model as a preset of KerasHub, through KerasHub.

    Args:
        model: The model.
        directory: The new directory, for `keras_hub.models.GPT2CausalLM.from_preset`.

    Raises:
        FileExistsError: If the directory holds something.
    """
    with new_directory(directory) as unfinished:
        theirs = to_keras_hub(model)
        theirs.save_to_preset(str(unfinished))


def _config(backbone: Any, changes: dict[str, Any]) -> GPT2Config:
    fields = {ours: getattr(backbone, theirs) for theirs, ours in _SIZES.items()}
    return GPT2Config(**{**fields, **changes})


def _copy(backbone: Any, model: GPT2Model) -> None:
    """Sets the weights of our model to those of a backbone of the same shape."""
    stored = huggingface.stored_variables(model)
    for name, parts in _parts(backbone):
        rows = stored[name].shape[:-1]
        arrays = [np.asarray(part.value).reshape(*rows, -1) for part in parts]
        stored[name].assign(np.concatenate(arrays, axis=-1))


def _parts(backbone: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yields, for each weight by Hugging Face's name, the variables that together are it."""
    home = huggingface.PREFIX
    yield f"{home}wte.weight", (backbone.token_embedding.embeddings,)
    yield f"{home}wpe.weight", (backbone.position_embedding.position_embeddings,)
    yield from _norm(f"{home}ln_f", backbone.layer_norm)
    for index, block in enumerate(backbone.transformer_layers):
        home = f"{huggingface.PREFIX}h.{index}"
        attention = block._self_attention_layer
        qkv = (attention.query_dense, attention.key_dense, attention.value_dense)
        yield from _norm(f"{home}.ln_1", block._self_attention_layer_norm)
        yield from _dense(f"{home}.attn.c_attn", *qkv)
        yield from _dense(f"{home}.attn.c_proj", attention.output_dense)
        yield from _norm(f"{home}.ln_2", block._feedforward_layer_norm)
        yield from _dense(f"{home}.mlp.c_fc", block._feedforward_intermediate_dense)
        yield from _dense(f"{home}.mlp.c_proj", block._feedforward_output_dense)


def _dense(name: str, *layers: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    yield f"{name}.weight", tuple(layer.kernel for layer in layers)
    yield f"{name}.bias", tuple(layer.bias for layer in layers)


def _norm(name: str, layer: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    yield f"{name}.weight", (layer.gamma,)
    yield f"{name}.bias", (layer.beta,)


def _preprocessor(model: GPT2Model) -> Any:
    """Returns KerasHub's preprocessor with the tokenizer of a model, or None."""
    import keras_hub

    if model.tokenizer is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        model.tokenizer.save(folder)
        tokenizer = keras_hub.models.GPT2Tokenizer(
            vocabulary=f"{folder}/vocab.json", merges=f"{folder}/merges.txt"
        )
    return keras_hub.models.GPT2CausalLMPreprocessor(
        tokenizer, sequence_length=model.config.context_length
    )


def _read_tokenizer(folder: Path) -> GPT2Tokenizer | None:
    """Reads the assets of KerasHub's tokenizer, if they are there."""
    vocabulary, merges = folder / "vocabulary.json", folder / "merges.txt"
    if not (vocabulary.is_file() and merges.is_file()):
        return None
    ids = read_json(vocabulary)
    lines = merges.read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    # KerasHub does not say which tokens are special: those that no merge makes.
    made = {left + right for left, right in pairs}.union(CHARACTER_TO_BYTE)
    special = tuple(sorted(set(ids) - made, key=ids.__getitem__))
    merged = [(left, right) for left, right in pairs]
    return GPT2Tokenizer(Vocabulary(ids, merged, special, where=str(folder)))
