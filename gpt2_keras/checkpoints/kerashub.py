"""KerasHub's GPT-2: its presets on disk and its models in memory, read and written."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpt2_keras.atomic import check_room, new_directory
from gpt2_keras.checkpoints import huggingface
from gpt2_keras.checkpoints.damaged import damaged
from gpt2_keras.checkpoints.h5_files import open_h5
from gpt2_keras.checkpoints.json_files import read_json, renamed_fields
from gpt2_keras.checkpoints.tensors import Checkpoint, Model, check_fits
from gpt2_keras.config import GPT2Config
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.byte_alphabet import CHARACTER_TO_BYTE
from gpt2_keras.tokenizer.files import read_merges
from gpt2_keras.tokenizer.vocabulary import Vocabulary, check_id_types

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.weights.h5"
TOKENIZER_FOLDER = "assets/tokenizer"
BACKBONE = "GPT2Backbone"
# More than the tokenizer's files and HDF5's headers take in a preset of 1.5 billion parameters.
_MAX_OTHER_BYTES = 8 * 2**20
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
    """Opens a preset of KerasHub with KerasHub; while it loads, the model is in memory twice."""
    path = directory / CONFIG_FILE
    contents = read_json(path)
    fields = contents.get("config")
    if contents.get("class_name") != BACKBONE or not isinstance(fields, dict):
        raise ValueError(
            f"{path} is of class {contents.get('class_name')!r}, and the preset of a GPT-2 of "
            f"{BACKBONE!r}. Name the preset of a GPT-2."
        )
    # Only the sizes are used: Keras would make objects of any class that a config names.
    sizes = renamed_fields(fields, {name: name for name in _SIZES}, str(path))
    config = GPT2Config(**{ours: sizes[theirs] for theirs, ours in _SIZES.items()})
    check_fits(config, directory)
    import keras_hub

    with open_h5(directory / WEIGHTS_FILE):
        pass
    checked = config.to_dict()
    backbone = keras_hub.models.GPT2Backbone(
        **{theirs: checked[ours] for theirs, ours in _SIZES.items()}
    )
    try:
        backbone.load_weights(str(directory / WEIGHTS_FILE))
    # For damaged files h5py raises the first two, Keras the others.
    except (OSError, KeyError, ValueError, TypeError) as error:
        found = ", ".join(sorted(item.name for item in directory.iterdir()))
        raise damaged(directory, "preset of KerasHub", error, found) from error
    if tokenizer is None:
        tokenizer = _read_tokenizer(directory / TOKENIZER_FOLDER)
    return _checkpoint(backbone, tokenizer, changes)


def from_keras_hub(
    model: Any, *, model_class: type[Model], dtype: Any = None, **changes: Any
) -> Model:
    """Converts a KerasHub model in memory.

    Args:
        model: A `keras_hub.models.GPT2CausalLM`, or a bare `GPT2Backbone`.
        model_class: The class of the result, `GPT2LM` for one.
        dtype: Keras dtype or policy of the result; by default Keras' global one.
        **changes: Fields of `GPT2Config` to set to another value.

    Returns:
        A model with a copy of the weights, and with the tokenizer if there is one.

    Raises:
        TypeError: If `model` is neither, or `model_class` is no class of ours.

    Example:
        >>> model = GPT2LM(GPT2Config(vocab_size=9, context_length=4, num_layers=1,
        ...                           num_heads=1, hidden_dim=4))
        >>> from_keras_hub(to_keras_hub(model), model_class=GPT2LM).config == model.config
        True
    """
    backbone = getattr(model, "backbone", model)
    if type(backbone).__name__ != BACKBONE:
        raise TypeError(
            f"model is of class {type(model).__name__}. "
            f"Use a GPT2CausalLM or {BACKBONE} of keras_hub.models."
        )
    preprocessor = getattr(model, "preprocessor", None)
    tokenizer = None
    if preprocessor is not None:
        with tempfile.TemporaryDirectory() as folder:
            preprocessor.tokenizer.save_assets(folder)
            tokenizer = _read_tokenizer(Path(folder))
    return _checkpoint(backbone, tokenizer, changes).make_model(model_class, dtype)


def to_keras_hub(model: GPT2Model) -> Any:
    """Converts a model to a `keras_hub.models.GPT2CausalLM` with a copy of its weights.

    Its preprocessor has the tokenizer of the model; a model without one gets no
    preprocessor. Special tokens other than `<|endoftext|>` are plain tokens in KerasHub.
    """
    import keras_hub

    fields = model.config.to_dict()
    backbone = keras_hub.models.GPT2Backbone(
        **{theirs: fields[ours] for theirs, ours in _SIZES.items()}
    )
    stored = huggingface.stored_variables(model)
    for name, variables in _variables(backbone):
        arrays = np.split(stored[name].read(), len(variables), axis=-1)
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array.reshape(variable.shape))
    return keras_hub.models.GPT2CausalLM(backbone, preprocessor=_preprocessor(model))


def save(model: GPT2Model, directory: str | Path) -> None:
    """Writes a model as a preset of KerasHub.

    Args:
        model: The model.
        directory: The new directory, for `keras_hub.models.GPT2CausalLM.from_preset`.

    Raises:
        FileExistsError: If the directory is not empty.
        OSError: If the disk is too small or cannot be written.
    """
    with new_directory(directory) as unfinished:
        # Where HDF5 finds the disk full, it ends the process (HDF5 1.14, h5py 3).
        num_bytes = model.count_params() * np.dtype("float32").itemsize
        check_room(unfinished, num_bytes + _MAX_OTHER_BYTES)
        to_keras_hub(model).save_to_preset(str(unfinished))


def _checkpoint(
    backbone: Any, tokenizer: GPT2Tokenizer | None, changes: dict[str, Any]
) -> Checkpoint:
    fields = {ours: getattr(backbone, theirs) for theirs, ours in _SIZES.items()}
    config = GPT2Config(**{**fields, **changes})
    return Checkpoint(config, tokenizer, lambda model: _copy(backbone, model))


def _copy(backbone: Any, model: GPT2Model) -> None:
    """Sets the weights of a model to those of a backbone, which may have a padded vocabulary."""
    stored = huggingface.stored_variables(model)
    for name, variables in _variables(backbone):
        rows = stored[name].shape[:-1]
        arrays = [np.asarray(variable.value) for variable in variables]
        if name.endswith("wte.weight"):  # rows after the last token are padding
            arrays = [array[: rows[0]] for array in arrays]
        arrays = [array.reshape(*rows, -1) for array in arrays]
        stored[name].assign(np.concatenate(arrays, axis=-1))


def _variables(backbone: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yields Hugging Face's name of each weight, and the variables that are concatenated in it."""
    prefix = huggingface.PREFIX
    yield f"{prefix}wte.weight", (backbone.token_embedding.embeddings,)
    yield f"{prefix}wpe.weight", (backbone.position_embedding.position_embeddings,)
    yield from _norm(f"{prefix}ln_f", backbone.layer_norm)
    for index, block in enumerate(backbone.transformer_layers):
        prefix = f"{huggingface.PREFIX}h.{index}"
        attention = block._self_attention_layer
        qkv = (attention.query_dense, attention.key_dense, attention.value_dense)
        yield from _norm(f"{prefix}.ln_1", block._self_attention_layer_norm)
        yield from _dense(f"{prefix}.attn.c_attn", *qkv)
        yield from _dense(f"{prefix}.attn.c_proj", attention.output_dense)
        yield from _norm(f"{prefix}.ln_2", block._feedforward_layer_norm)
        yield from _dense(f"{prefix}.mlp.c_fc", block._feedforward_intermediate_dense)
        yield from _dense(f"{prefix}.mlp.c_proj", block._feedforward_output_dense)


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
    """Reads the assets of KerasHub's tokenizer, if they exist."""
    vocabulary, merges = folder / "vocabulary.json", folder / "merges.txt"
    if not (vocabulary.is_file() and merges.is_file()):
        return None
    ids = read_json(vocabulary)
    check_id_types(ids, str(vocabulary))
    pairs = read_merges(merges)
    # KerasHub has no list of special tokens: they are those that no merge makes.
    ordinary = {left + right for left, right in pairs}.union(CHARACTER_TO_BYTE)
    special = tuple(sorted(set(ids) - ordinary, key=ids.__getitem__))
    return GPT2Tokenizer(Vocabulary(ids, pairs, special, where=str(folder)))
