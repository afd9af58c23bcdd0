"""Self-contained artefacts of a model: text in, text out, without this package."""

from pathlib import Path
from typing import Any

from gpt2_keras.model import GPT2LM

FORMATS = ("tf_saved_model", "litert")


def export(model: GPT2LM, path: str | Path, format: str = "tf_saved_model", **options: Any) -> Path:  # noqa: A002
    """Writes an artefact that runs without this package.

    Args:
        model: A model with a tokenizer.
        path: Where to write: a directory for `"tf_saved_model"`, a `.tflite` file
            for `"litert"`.
        format: `"tf_saved_model"`, see `saved_model.to_saved_model`; or
            `"litert"`, see `litert.to_litert`.
        **options: As these functions take them.

    Returns:
        What was written: the version directory, or the file.

    Raises:
        ValueError: If the format is neither, or the model has no tokenizer.
        FileExistsError: If the place is taken.
    """
    if format == "tf_saved_model":
        from gpt2_keras.export.saved_model import to_saved_model

        return to_saved_model(model, path, **options)
    if format == "litert":
        from gpt2_keras.export.litert import to_litert

        return to_litert(model, path, **options)
    raise ValueError(f"`format` must be one of {', '.join(FORMATS)}. Received: format={format!r}.")
