"""LiteRT: one file for devices, in builtin ops alone."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from gpt2_keras.atomic import new_file
from gpt2_keras.export.module import module_of_weights
from gpt2_keras.model import GPT2LM

SIGNATURE = "logits"


def to_litert(model: GPT2LM, path: str | Path) -> Path:
    """Writes a `.tflite` file that maps token ids to logits.

    Its signature `logits` takes `token_ids`, int32 `(1, time)` with `time` up to
    `context_length`, and returns `logits`, float32 `(1, time, vocab)`. It holds
    LiteRT's builtin ops alone, so that any LiteRT runtime loads it.

    Args:
        model: The model; its tokenizer is not part of this file.
        path: The new file, by custom named `*.tflite`.

    Returns:
        The path.

    Raises:
        FileExistsError: If the path is taken.

    Example:
        >>> model = GPT2LM(GPT2Config(vocab_size=9, context_length=4, num_layers=1,
        ...                           num_heads=1, hidden_dim=4))
        >>> model.export(Path(tempfile.mkdtemp()) / "model.tflite", format="litert").name
        'model.tflite'
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(
            "The output must be a new file; nothing is overwritten. "
            f"Received: {path}, which exists. Name another place, or move it away first."
        )
    with new_file(path) as unfinished:
        unfinished.write_bytes(_convert(model))
    return path


def _convert(model: GPT2LM) -> bytes:
    """Returns the contents of the file."""
    module = module_of_weights(model)
    token_ids = tf.TensorSpec([1, None], tf.int32, name="token_ids")

    @tf.function(input_signature=[token_ids])
    def logits(token_ids: Any) -> dict[str, Any]:
        return {"logits": model(token_ids, training=False)}

    module.logits = logits
    with tempfile.TemporaryDirectory() as directory, _quiet():
        tf.saved_model.save(module, directory, signatures={SIGNATURE: logits})
        converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        contents: bytes = converter.convert()
    return contents


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the converter's own progress lines; its errors are raised."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)
