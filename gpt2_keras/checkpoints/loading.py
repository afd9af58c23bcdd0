"""From any checkpoint to a model."""

import os
from pathlib import Path
from typing import Any, TypeVar

from gpt2_keras.checkpoints.formats import detect
from gpt2_keras.checkpoints.hub import locate
from gpt2_keras.layers.initializers import uninitialized_weights
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer import GPT2Tokenizer

Model = TypeVar("Model", bound=GPT2Model)


def load(
    preset: str | Path,
    *,
    model_class: type[Model],
    dtype: Any = None,
    tokenizer: GPT2Tokenizer | str | os.PathLike[str] | None = None,
    **changes: Any,
) -> Model:
    """Loads a model from a checkpoint of any system that has GPT-2s.

    The kind is told by the files: a model directory or another of Hugging Face's
    layout, a run directory, OpenAI's or gpt-2-simple's TensorFlow checkpoint, a
    KerasHub preset, nanoGPT's `ckpt.pt`. Weights are read one at a time, in
    whichever float dtype they are stored.

    Args:
        preset: Where it is: a path; `"gpt2"`, `"gpt2-medium"`, `"gpt2-large"` or
            `"gpt2-xl"`; `"hf://owner/name"`; or
            `"kaggle://owner/model/framework/variation"`. What is not on this
            machine is downloaded into the cache of the library that does it.
        model_class: `GPT2LM` or a subclass.
        dtype: Keras dtype or policy of the model; by default Keras' global one.
        tokenizer: The tokenizer, or its directory, in place of the checkpoint's.
        **changes: Fields of `GPT2Config` to set otherwise, such as
            `dropout_rate`.

    Returns:
        The model, with its tokenizer if there is one.

    Raises:
        FileNotFoundError: If there is no checkpoint; says what was looked for.
        ImportError: If the library that downloads it is not installed.
        ValueError: If a file is truncated, is no GPT-2's, or its tensors are not
            the ones that its config asks for; lists all that differ. If there are
            two checkpoints, or one that wants to run code.
    """
    kind, directory = detect(locate(preset))
    if tokenizer is not None and not isinstance(tokenizer, GPT2Tokenizer):
        tokenizer = GPT2Tokenizer.from_directory(tokenizer)
    checkpoint = kind.open(directory, tokenizer, changes)
    with uninitialized_weights():
        model = model_class(checkpoint.config, tokenizer=checkpoint.tokenizer, dtype=dtype)
    checkpoint.fill(model)
    return model
