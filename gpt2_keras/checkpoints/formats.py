"""The formats of checkpoints, detected by their files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gpt2_keras.checkpoints import huggingface_files, kerashub, nanogpt, openai
from gpt2_keras.checkpoints.tensors import Checkpoint
from gpt2_keras.tokenizer import GPT2Tokenizer

# The model directory inside a run directory.
RUN_SUBDIRECTORY = "model"


class CheckpointFormat(NamedTuple):
    """A format of checkpoints.

    Args:
        name: The system, for messages.
        files: The files of a checkpoint, for messages.
        matches: Returns whether a directory has these files.
        open: Reads all but the weights of a directory. Its arguments: the directory; a
            tokenizer, or None for the directory's own; fields of `GPT2Config` to change.
    """

    name: str
    files: str
    matches: Callable[[Path], bool]
    open: Callable[[Path, GPT2Tokenizer | None, dict[str, Any]], Checkpoint]


def _is_hugging_face(directory: Path) -> bool:
    has_config = (directory / huggingface_files.CONFIG_FILE).is_file()
    return has_config and huggingface_files.weights_file(directory) is not None


def _is_keras_hub(directory: Path) -> bool:
    return all(
        (directory / name).is_file() for name in (kerashub.CONFIG_FILE, kerashub.WEIGHTS_FILE)
    )


def _is_openai(directory: Path) -> bool:
    has_hparams = (directory / openai.HPARAMS_FILE).is_file()
    return has_hparams and openai.checkpoint_prefix(directory) is not None


def _is_nanogpt(directory: Path) -> bool:
    return (directory / nanogpt.CHECKPOINT_FILE).is_file()


FORMATS = (
    CheckpointFormat(
        "a model directory of Hugging Face's layout",
        f"config.json and one of {', '.join(huggingface_files.READERS)}",
        _is_hugging_face,
        huggingface_files.open_directory,
    ),
    CheckpointFormat(
        "a KerasHub preset",
        "config.json and model.weights.h5",
        _is_keras_hub,
        kerashub.open_directory,
    ),
    CheckpointFormat(
        "OpenAI's or gpt-2-simple's checkpoint",
        "hparams.json and model*.index",
        _is_openai,
        openai.open_directory,
    ),
    CheckpointFormat("nanoGPT's checkpoint", "ckpt.pt", _is_nanogpt, nanogpt.open_directory),
)


def detect(path: Path) -> tuple[CheckpointFormat, Path]:
    """Returns the format of a checkpoint and its directory.

    Args:
        path: The directory, a run directory that holds one, or nanoGPT's file.

    Raises:
        FileNotFoundError: If there are files of no format; lists the files looked for.
        ValueError: If there are files of two formats.
    """
    if path.name == nanogpt.CHECKPOINT_FILE and path.is_file():
        path = path.parent
    for directory in (path, path / RUN_SUBDIRECTORY):
        found = [known for known in FORMATS if known.matches(directory)]
        if len(found) > 1:
            raise ValueError(
                f"{directory} has the files of two checkpoints: {_listed(found)}. "
                "Move those of one of them to another directory."
            )
        if found:
            return found[0], directory
    raise FileNotFoundError(
        f"There is no checkpoint at {path}, which {_what_is_there(path)}. "
        f"Looked for, there and in {RUN_SUBDIRECTORY}/: {_listed(FORMATS)}. "
        "Name another directory, `hf://owner/name`, `kaggle://…`, or a published size "
        "such as `gpt2`."
    )


def _listed(formats: Sequence[CheckpointFormat]) -> str:
    return ", ".join(f"{known.name} ({known.files})" for known in formats)


def _what_is_there(path: Path) -> str:
    if path.is_file():
        return "is a file"
    if not path.exists():
        return "does not exist"
    names = sorted(item.name for item in path.iterdir())
    return f"holds {', '.join(names[:10]) or 'nothing'}{', …' if len(names) > 10 else ''}"
