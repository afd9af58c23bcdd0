"""Self-contained artifacts of a model: text in, text out, without this package."""

from pathlib import Path
from typing import Any

from gpt2_keras.model import GPT2Model
from gpt2_keras.verification.certificate import Certificate, CertificateError, certify, verify
from gpt2_keras.verification.open import check_name

__all__ = ["FORMATS", "Certificate", "CertificateError", "certify", "export", "verify"]

FORMATS = ("tf_saved_model", "litert", "litertlm")


def export(
    model: GPT2Model,
    path: str | Path,
    format: str = "tf_saved_model",  # noqa: A002
    *,
    certificate: bool = True,
    **options: Any,
) -> Path:
    """Writes an artifact that runs without this package, and proves it equal to the model.

    Args:
        model: A model with a tokenizer.
        path: Where to write: a directory for `"tf_saved_model"`, a `.tflite` file
            for `"litert"`, a `.litertlm` file for `"litertlm"`.
        format: `"tf_saved_model"`, see `saved_model.to_saved_model`; `"litert"`,
            see `litert.to_litert`; or `"litertlm"`, see `litertlm.to_litertlm`.
        certificate: Whether to run the artifact side by side with the model and
            write what was measured: `certificate.json` into the version
            directory, or `*.certificate.json` beside the file.
        **options: As these functions take them.

    Returns:
        What was written: the version directory, or the file.

    Raises:
        CertificateError: If the artifact does not equal the model. It stays where
            it is, without a certificate.
        ValueError: If the format is none of these, the model has no tokenizer, or a
            file to have a certificate is not named as above.
        FileExistsError: If the place is taken.
        ImportError: If a file is to have a certificate and its runtime is missing:
            ai-edge-litert of a `.tflite`, litert-lm of a `.litertlm`.
    """
    if format == "tf_saved_model":
        from gpt2_keras.export.saved_model import to_saved_model

        made = to_saved_model(model, path, **options)
    elif format == "litert":
        from gpt2_keras.export.litert import to_litert
        from gpt2_keras.verification.litert import require_litert

        if certificate:  # said before the long work
            check_name(path, format)
            require_litert()
        made = to_litert(model, path, **options)
    elif format == "litertlm":
        from gpt2_keras.export.litertlm import to_litertlm
        from gpt2_keras.verification.litertlm import require_litert_lm

        if certificate:
            check_name(path, format)
            require_litert_lm()
        made = to_litertlm(model, path, **options)
    else:
        raise ValueError(
            f"`format` must be one of {', '.join(FORMATS)}. Received: format={format!r}."
        )
    if certificate:
        certify(model, made).write()
    return made
