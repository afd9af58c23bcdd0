"""Loads the model of a checkpoint of any system."""

import os
from pathlib import Path
from typing import Any

from gpt2_keras.checkpoints.formats import detect
from gpt2_keras.checkpoints.hub import locate
from gpt2_keras.checkpoints.tensors import Model
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.validation import check_path


def load(
    preset: str | Path,
    *,
    model_class: type[Model],
    dtype: Any = None,
    tokenizer: GPT2Tokenizer | str | os.PathLike[str] | None = None,
    **changes: Any,
) -> Model:
    """Loads a model from a checkpoint of any system that has GPT-2.

    The format is detected by the files: a model directory or another of Hugging Face's
    layout, a run directory, OpenAI's or gpt-2-simple's TensorFlow checkpoint, a
    KerasHub preset, nanoGPT's `ckpt.pt`. Weights are read one at a time, in any float
    dtype.

    Args:
        preset: A path; `"gpt2"`, `"gpt2-medium"`, `"gpt2-large"` or `"gpt2-xl"`;
            `"hf://owner/name"`; or `"kaggle://owner/model/framework/variation"`. What
            is not on this machine is downloaded, into the cache of the library that
            downloads it.
        model_class: The class of the model, `GPT2LM` for one.
        dtype: Keras dtype or policy of the model; by default Keras' global one.
        tokenizer: The tokenizer, or its directory, to use instead of the checkpoint's.
        **changes: Fields of `GPT2Config` to set to another value, such as
            `dropout_rate`.

    Returns:
        The model, with its tokenizer if there is one.

    Raises:
        TypeError: If an argument is of the wrong type.
        FileNotFoundError: If there is no checkpoint; lists the files looked for.
        ImportError: If the library that downloads it is not installed.
        ValueError: If a file is damaged or of another model, if its tensors do not fit
            its config (lists all that differ), if there are two checkpoints, or if one
            would run code.
    """
    checkpoint_format, directory = detect(locate(preset))
    if tokenizer is not None and not isinstance(tokenizer, GPT2Tokenizer):
        tokenizer = GPT2Tokenizer.from_directory(check_path("tokenizer", tokenizer))
    return checkpoint_format.open(directory, tokenizer, changes).make_model(model_class, dtype)


def directory_of(preset: str | Path) -> Path:
    """Returns the directory with the files of a checkpoint; arguments and errors are `load`'s."""
    return detect(locate(preset))[1]
