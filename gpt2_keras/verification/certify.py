"""Measures an artifact side by side with its model."""

import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

from gpt2_keras.checkpoints import huggingface
from gpt2_keras.devices import require_tensorflow
from gpt2_keras.hashing import file_sha256
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_path, check_text
from gpt2_keras.verification.certificate import CERTIFICATE_NAME, Certificate
from gpt2_keras.verification.checks import Progress, run_checks
from gpt2_keras.verification.open import open_artifact
from gpt2_keras.verification.text_suite import default_text
from gpt2_keras.version import __version__

_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "litert-lm")


def certify(
    model: GPT2Model,
    artifact_path: str | Path,
    *,
    text: str | None = None,
    on_progress: Progress | None = None,
) -> Certificate:
    """Measures an artifact side by side with its model.

    Args:
        model: The Keras model it was exported from.
        artifact_path: The directory of a SavedModel, or a `.tflite` or `.litertlm` file.
        text: What perplexity is measured on. By default the beginning of the
            documentation that ships inside Python.
        on_progress: Called with the number of bytes of text done, and of all.

    Returns:
        The certificate; `passed` says whether the artifact equals the model.

    Raises:
        FileNotFoundError: If there is no artifact.
        ImportError: If its runtime is not installed.
        TypeError: If the path or the text is of a wrong type.
        ValueError: If the artifact cannot be loaded, or the text is empty.
        RuntimeError: If Keras runs on another backend than TensorFlow.
    """
    require_tensorflow("A certificate")
    path = Path(check_path("artifact_path", artifact_path))
    text = default_text() if text is None else check_text("text", text)
    artifact = open_artifact(path)
    return Certificate(
        path=path,
        format=artifact.format,
        dtype=artifact.dtype,
        files=file_hashes(path),
        inputs=fingerprints(model),
        versions=versions(),
        operators=tuple(artifact.ops()),
        text={"sha256": hashlib.sha256(text.encode()).hexdigest(), "characters": len(text)},
        checks=run_checks(model, artifact, text, on_progress),
    )


def fingerprints(model: GPT2Model) -> dict[str, str]:
    """Returns the SHA-256 of a model's `config`, `weights`, `tokenizer` and `generation` config.

    With added tokens `special_tokens` are those that a text may hold. None depends on a
    file: a model is the same in every format it can be kept in. Of the config the dropout
    rate is left out, which an artifact does not have.

    Example:
        >>> config = GPT2Config(vocab_size=9, context_length=4, num_layers=1, num_heads=1,
        ...                     hidden_dim=4)
        >>> sorted(fingerprints(GPT2LM(config)))
        ['config', 'weights']
    """
    fields = model.config.to_dict()
    del fields["dropout_rate"]
    weights = hashlib.sha256()
    for name, stored in sorted(huggingface.stored_variables(model).items()):
        tensor = stored.read()
        weights.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        weights.update(tensor.data)
    hashes = {
        "config": _sha256(fields),
        "weights": weights.hexdigest(),
    }
    if model.tokenizer is not None:
        hashes["tokenizer"] = model.tokenizer.fingerprint
        if model.tokenizer.allowed_special:
            hashes["special_tokens"] = " ".join(model.tokenizer.allowed_special)
        ends, followed = model.end_token_ids, model.generation_config.followed
        if followed or ends != (model.tokenizer.end_token_id,):
            hashes["generation"] = _sha256({"end_token_ids": ends, **followed})
    return hashes


def _sha256(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def file_hashes(path: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file of an artifact, its certificate left out.

    A file that is the whole artifact is called `model` here, whatever its name.
    """
    if path.is_file():
        return {f"model{path.suffix}": file_sha256(path)}
    files = {
        file.relative_to(path).as_posix(): file for file in path.rglob("*") if not file.is_dir()
    }
    files.pop(CERTIFICATE_NAME, None)
    return {name: file_sha256(file) for name, file in sorted(files.items())}


def versions() -> dict[str, str | None]:
    """Returns the versions of the packages that measure; None for what is not installed."""
    found: dict[str, str | None] = {"gpt2_keras": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found
