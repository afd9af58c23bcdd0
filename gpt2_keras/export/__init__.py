"""Self-contained artifacts of a model: text in, text out, without this package."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from gpt2_keras.devices import require_tensorflow
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_choice, check_flag, check_integer, check_path
from gpt2_keras.verification.certificate import Certificate, CertificateError
from gpt2_keras.verification.certify import certify
from gpt2_keras.verification.checks import Progress
from gpt2_keras.verification.open import check_suffix
from gpt2_keras.verification.verify import verify

__all__ = ["FORMATS", "Certificate", "CertificateError", "certify", "export", "verify"]

FORMATS = ("tf_saved_model", "litert", "litertlm")


def export(
    model: GPT2Model,
    filepath: str | Path,
    format: str = "tf_saved_model",  # noqa: A002 -- Keras' name
    verbose: bool | None = None,
    input_signature: None = None,
    *,
    version: int | None = None,
    certificate: bool = True,
    **options: Any,
) -> Path:
    """Writes an artifact that runs without this package, and proves it equal to the model.

    The first arguments are those of `keras.Model.export`.

    Args:
        model: A model with a tokenizer.
        filepath: What to write: a directory for `"tf_saved_model"`, a `.tflite` file
            for `"litert"`, a `.litertlm` file for `"litertlm"`.
        format: `"tf_saved_model"`, see `saved_model.to_saved_model`; `"litert"`,
            see `litert.to_litert`; or `"litertlm"`, see `litertlm.to_litertlm`.
        verbose: Whether to show a progress bar while the artifact is compared with
            the model. By default not.
        input_signature: None: the signatures of each format are fixed.
        version: Of a `"tf_saved_model"`: writes it to `filepath/<version>`, as
            TensorFlow Serving reads it. By default the SavedModel is `filepath` itself.
        certificate: Whether to run the artifact side by side with the model and
            write what was measured: `certificate.json` into the SavedModel, or
            `*.certificate.json` beside the file.
        **options: The keyword arguments of the format's function.

    Returns:
        The directory of the SavedModel, or the file.

    Raises:
        TypeError: If an argument is of the wrong type, or an option is not of this format.
        ValueError: If an argument has a wrong value, the model has no tokenizer, or
            a file that is to have a certificate is not named as above.
        CertificateError: If the artifact does not equal the model. It stays where
            it is, without a certificate.
        FileExistsError: If there is something at the path already.
        ImportError: If a file is to have a certificate and its runtime is missing:
            ai-edge-litert of a `.tflite`, litert-lm of a `.litertlm`.
        RuntimeError: If Keras runs on another backend than TensorFlow.
    """
    path = Path(check_path("filepath", filepath))
    check_choice("format", format, FORMATS)
    verbose = verbose is not None and check_flag("verbose", verbose)
    check_flag("certificate", certificate)
    require_tensorflow("An export")
    if input_signature is not None:
        raise ValueError(
            f"input_signature={input_signature!r} is given, but the signatures of a {format} are "
            "fixed. Leave it out."
        )
    if version is not None:
        check_integer("version", version, minimum=1)
        if format != "tf_saved_model":
            raise ValueError(
                f"version={version} is given for format={format!r}, which has no versions. "
                "Leave it out, or use format='tf_saved_model'."
            )
        path = _version_path(path, version)
    write = _writer(format)
    _check_options(options, write, format)
    if certificate and format != "tf_saved_model":  # found out before the long work
        check_suffix(path, format)
        _require_runtime(format)
    artifact = write(model, path, **options)
    if certificate:
        certify(model, artifact, on_progress=_progress_bar() if verbose else None).write()
    return artifact


def _version_path(directory: Path, version: int) -> Path:
    """Returns the path of a new version in a directory of versions."""
    path = directory / str(version)
    if path.exists():
        names = [entry.name for entry in directory.iterdir()]
        following = max(int(name) for name in names if name.isdecimal()) + 1
        raise FileExistsError(
            f"version={version} is in {directory} already. Nothing is overwritten. "
            f"Use version={following}, which is free."
        )
    return path


def _writer(format: str) -> Callable[..., Path]:  # noqa: A002
    """Returns the function that writes a format."""
    if format == "tf_saved_model":
        from gpt2_keras.export.saved_model import to_saved_model

        return to_saved_model
    if format == "litert":
        from gpt2_keras.export.litert import to_litert

        return to_litert
    from gpt2_keras.export.litertlm import to_litertlm

    return to_litertlm


def _check_options(options: dict[str, Any], write: Callable[..., Path], format: str) -> None:  # noqa: A002
    """Raises a TypeError for an option that a format does not have."""
    parameters = inspect.signature(write).parameters.values()
    known = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    for name, value in options.items():
        if name not in known:
            raise TypeError(
                f"{name}={value!r} is no option of format={format!r}. "
                f"Use one of {', '.join(known)}."
            )


def _require_runtime(format: str) -> None:  # noqa: A002
    """Raises an ImportError if what runs a format is missing."""
    if format == "litert":
        from gpt2_keras.verification.litert import require_litert

        require_litert()
    else:
        from gpt2_keras.verification.litertlm import require_litert_lm

        require_litert_lm()


def _progress_bar() -> Progress:
    """Returns a function that shows Keras' progress bar of bytes done, and of all."""
    bars: list[keras.utils.Progbar] = []

    def show(done: int, total: int) -> None:
        if not bars:
            bars.append(keras.utils.Progbar(total, unit_name="byte"))
        bars[0].update(done)

    return show
