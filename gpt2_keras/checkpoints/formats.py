"""Which system a checkpoint is of, told by its files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gpt2_keras.checkpoints import huggingface_files, kerashub, nanogpt, openai
from gpt2_keras.checkpoints.tensors import Checkpoint
from gpt2_keras.tokenizer import GPT2Tokenizer

# Where a run directory keeps its model directory.
RUN_SUBDIRECTORY = "model"


class Kind(NamedTuple):
    """A kind of checkpoint.

    Args:
        name: The system, for people.
        files: What it is made of, for error messages.
        is_at: Says whether a directory has these files.
        open: Reads all but the weights of a directory; takes also a tokenizer, or
            None for the directory's own, and fields of `GPT2Config` to change.
    """

    name: str
    files: str
    is_at: Callable[[Path], bool]
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


KINDS = (
    Kind(
        "a model directory of Hugging Face's layout",
        f"config.json and one of {', '.join(huggingface_files.READERS)}",
        _is_hugging_face,
        huggingface_files.open_directory,
    ),
    Kind(
        "a KerasHub preset",
        "config.json and model.weights.h5",
        _is_keras_hub,
        kerashub.open_directory,
    ),
    Kind(
        "OpenAI's or gpt-2-simple's checkpoint",
        "hparams.json and model*.index",
        _is_openai,
        openai.open_directory,
    ),
    Kind("nanoGPT's", "ckpt.pt", _is_nanogpt, nanogpt.open_directory),
)


def detect(path: Path) -> tuple[Kind, Path]:
    """Returns the kind of a checkpoint and its directory.

    Args:
        path: The directory, a run directory that holds one, or nanoGPT's file.

    Raises:
        FileNotFoundError: If no kind's files are there; says which were looked for.
        ValueError: If the files of two kinds are there.
    """
    if path.name == nanogpt.CHECKPOINT_FILE and path.is_file():
        path = path.parent
    for directory in (path, path / RUN_SUBDIRECTORY):
        found = [kind for kind in KINDS if kind.is_at(directory)]
        if len(found) > 1:
            names = " and ".join(f"{kind.name} ({kind.files})" for kind in found)
            raise ValueError(
                "A directory must hold one checkpoint. "
                f"Received: {directory}, which has the files of {names}. "
                "Move those of one of them to a directory of their own."
            )
        if found:
            return found[0], directory
    ours, *others = KINDS
    also = ", ".join(f"{kind.name} ({kind.files})" for kind in others)
    raise FileNotFoundError(
        f"A model directory holds {ours.files}; a run directory holds one as "
        f"{RUN_SUBDIRECTORY}/. Also read: {also}. Received: {path}, {_what_is_there(path)}. "
        "Name another directory, `hf://owner/name`, `kaggle://…`, or a published size "
        "such as `gpt2`."
    )


def _what_is_there(path: Path) -> str:
    if path.is_file():
        return "a file"
    if not path.exists():
        return "that does not exist"
    names = sorted(item.name for item in path.iterdir())
    return f"that holds {', '.join(names[:10]) or 'nothing'}{', …' if len(names) > 10 else ''}"
