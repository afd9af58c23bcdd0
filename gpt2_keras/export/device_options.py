"""What both kinds of files for devices check before the long work."""

from pathlib import Path

from gpt2_keras.export.litert_quantization import check_dtype
from gpt2_keras.model import GPT2LM


def checked_options(
    model: GPT2LM, path: str | Path, context_length: int | None, dtype: str
) -> tuple[Path, int]:
    """Returns the new file's path and its context, the model's if none is asked for.

    Raises:
        FileExistsError: If the path is taken.
        ValueError: If `context_length` is below 2 or above the model's, or `dtype`
            is unknown or not for this model.
        ImportError: If `dtype` needs ai-edge-quantizer, and that is missing.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(
            "The output must be a new file; nothing is overwritten. "
            f"Received: {path}, which exists. Name another place, or move it away first."
        )
    if context_length is None:
        context_length = model.config.context_length
    if not 2 <= context_length <= model.config.context_length:
        raise ValueError(
            "`context_length` must be at least 2 and at most the model's. "
            f"Received: context_length={context_length}, of {model.config.context_length}."
        )
    check_dtype(dtype, model.config)
    return path, context_length
