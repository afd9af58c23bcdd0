"""TensorFlow checkpoints of OpenAI and of gpt-2-simple, which adds a counter.

Such a directory holds `hparams.json`, `encoder.json`, `vocab.bpe` and a checkpoint of
TensorFlow's saver: `model.ckpt.index`, `model.ckpt.data-00000-of-00001` and `checkpoint`,
which names it. Source: openai/gpt-2 `src/model.py` and `download_model.py`.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpt2_keras.atomic import new_directory
from gpt2_keras.checkpoints import huggingface
from gpt2_keras.checkpoints.damaged import damaged
from gpt2_keras.checkpoints.json_files import read_json, renamed_fields, write_json
from gpt2_keras.checkpoints.tensors import Checkpoint, StoredVariable, Tensors, fill
from gpt2_keras.config import GPT2Config
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api.tensorflow import file_errors
from gpt2_keras.tokenizer import GPT2Tokenizer

HPARAMS_FILE = "hparams.json"
STATE_FILE = "checkpoint"
PREFIX = "model.ckpt"
FEED_FORWARD_RATIO = 4  # openai/gpt-2 src/model.py, block(): mlp(..., nx*4)
# openai/gpt-2 src/model.py, default_hparams → ours
_SIZES = {
    "n_vocab": "vocab_size",
    "n_ctx": "context_length",
    "n_embd": "hidden_dim",
    "n_head": "num_heads",
    "n_layer": "num_layers",
}
_TOKENIZER_NAMES = {"vocab.json": "encoder.json", "merges.txt": "vocab.bpe"}
# The variables that an optimizer of TensorFlow 1 adds to a checkpoint.
_TRAINING_STATE = re.compile(r".*/(Adam|Adam_1|Adafactor\w*|Momentum)|beta[12]_power|global_step")


def open_directory(
    directory: Path, tokenizer: GPT2Tokenizer | None, changes: dict[str, Any]
) -> Checkpoint:
    """Opens a directory of OpenAI's code, or a run of gpt-2-simple."""
    path = directory / HPARAMS_FILE
    fields = renamed_fields(read_json(path), _SIZES, str(path))
    config = GPT2Config(**{**fields, **changes})
    num_rows = fields["vocab_size"]
    if tokenizer is None and (directory / "encoder.json").is_file():
        tokenizer = GPT2Tokenizer.from_directory(directory)
    return Checkpoint(
        config,
        tokenizer,
        lambda model: fill(
            _stored_variables(model),
            _open_tensors(directory).without_padding(num_rows, model.config.vocab_size),
            ignored=lambda name: _TRAINING_STATE.fullmatch(name) is not None,
            config_file=HPARAMS_FILE,
        ),
        directory=directory,
    )


def checkpoint_prefix(directory: Path) -> Path | None:
    """Returns the prefix of the checkpoint files in a directory, of several the last saved."""
    state = directory / STATE_FILE
    if state.is_file():
        named = re.search(r'^model_checkpoint_path: "(.*)"', state.read_text("utf-8"), re.MULTILINE)
        # Only the name is used: the directory may have been moved.
        if (
            named
            and (prefix := directory / Path(named[1]).name)
            .with_name(f"{prefix.name}.index")
            .is_file()
        ):
            return prefix
    indices = sorted(directory.glob("model*.index"), key=lambda path: path.stat().st_mtime)
    return indices[-1].with_suffix("") if indices else None


def save(model: GPT2Model, directory: str | Path) -> None:
    """Writes a model as a checkpoint for openai/gpt-2 and gpt-2-simple.

    Args:
        model: The model. Its `intermediate_dim` must be `4 * hidden_dim`, as OpenAI's
            code has it.
        directory: The new directory.

    Raises:
        ValueError: If the model has another `intermediate_dim`.
        FileExistsError: If the directory is not empty.

    Example:
        >>> model = GPT2LM(GPT2Config(vocab_size=9, context_length=4, num_layers=1,
        ...                           num_heads=1, hidden_dim=4))
        >>> directory = Path(tempfile.mkdtemp()) / "model"
        >>> save(model, directory)
        >>> GPT2LM.from_preset(directory).config == model.config
        True
    """
    import tensorflow as tf

    config = model.config
    if config.feed_forward_dim != FEED_FORWARD_RATIO * config.hidden_dim:
        raise ValueError(
            f"intermediate_dim={config.intermediate_dim} is not {FEED_FORWARD_RATIO} times "
            f"hidden_dim={config.hidden_dim}, as in OpenAI's code. Save it with `save_to_preset`."
        )
    with new_directory(directory) as unfinished:
        fields = config.to_dict()
        write_json(
            unfinished / HPARAMS_FILE, {theirs: fields[ours] for theirs, ours in _SIZES.items()}
        )
        stored = _stored_variables(model)
        with file_errors():
            tf.raw_ops.SaveV2(
                prefix=str(unfinished / PREFIX),
                tensor_names=list(stored),
                shape_and_slices=[""] * len(stored),
                tensors=[variable.read() for variable in stored.values()],
            )
        (unfinished / STATE_FILE).write_text(
            f'model_checkpoint_path: "{PREFIX}"\nall_model_checkpoint_paths: "{PREFIX}"\n',
            encoding="utf-8",
        )
        if model.tokenizer is not None:
            _save_tokenizer(model.tokenizer, unfinished)


def _save_tokenizer(tokenizer: GPT2Tokenizer, directory: Path) -> None:
    """Writes a tokenizer under OpenAI's file names."""
    tokenizer.save(directory)
    for path in list(directory.glob("tokenizer*.json")):
        path.unlink()
    for theirs, openais in _TOKENIZER_NAMES.items():
        (directory / theirs).rename(directory / openais)
    if len(tokenizer.special_tokens) > 1:  # OpenAI's files have <|endoftext|> only
        text = json.dumps(tokenizer.special_tokens)
        (directory / "added_tokens.json").write_text(text, encoding="utf-8")


def _stored_variables(model: GPT2Model) -> dict[str, StoredVariable]:
    """Returns every weight of a model by OpenAI's name."""
    return {
        # Kernels are (1, in, out) in `conv1d` of openai/gpt-2 src/model.py.
        _openai_name(name): stored._replace(unit_axes=int(stored.transposed))
        for name, stored in huggingface.stored_variables(model).items()
    }


def _openai_name(name: str) -> str:
    """Returns OpenAI's name of a Hugging Face name: of h.0.attn.c_attn.weight h0/attn/c_attn/w."""
    *parts, leaf = name.removeprefix(huggingface.PREFIX).split(".")
    if parts[0] in ("wte", "wpe"):
        return f"model/{parts[0]}"
    if parts[0] == "h":
        parts = [f"h{parts[1]}", *parts[2:]]
    # The weights of `norm` are g and b, of `conv1d` w and b.
    short = "b" if leaf == "bias" else "g" if parts[-1].startswith("ln_") else "w"
    return "/".join(["model", *parts, short])


def _open_tensors(directory: Path) -> Tensors:
    """Opens the checkpoint of a directory."""
    import tensorflow as tf

    prefix = checkpoint_prefix(directory)
    assert prefix is not None  # noqa: S101 -- the format is detected by it
    reader = _checked(prefix, lambda: tf.train.load_checkpoint(str(prefix)))
    shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    dtypes = reader.get_variable_to_dtype_map()

    def read(name: str) -> Any:
        # Not by `reader.get_tensor`, which copies.
        (tensor,) = tf.raw_ops.RestoreV2(
            prefix=str(prefix),
            tensor_names=[name],
            shape_and_slices=[""],
            dtypes=[dtypes[name]],
        )
        return tensor.numpy()

    return Tensors(prefix, shapes, lambda name: _checked(prefix, lambda: read(name)))


def _checked(prefix: Path, read: Callable[[], Any]) -> Any:
    """Returns what `read` returns; an error of TensorFlow becomes a ValueError."""
    import tensorflow as tf

    try:
        return read()
    except tf.errors.OpError as error:
        files = ", ".join(sorted(path.name for path in prefix.parent.glob(f"{prefix.name}.*")))
        raise damaged(prefix, "TensorFlow checkpoint", error, files) from error
