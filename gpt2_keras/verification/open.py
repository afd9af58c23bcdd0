"""From a path to the artifact there."""

from pathlib import Path

from gpt2_keras.verification.artifact import Artifact
from gpt2_keras.verification.litert import LiteRTArtifact
from gpt2_keras.verification.litertlm import LiteRTLMArtifact
from gpt2_keras.verification.saved_model import SavedModelArtifact

_CLASSES: dict[str, type[Artifact]] = {
    each.format: each for each in (SavedModelArtifact, LiteRTArtifact, LiteRTLMArtifact)
}
# The file names of the formats that are one file.
_SUFFIXES = {"litert": ".tflite", "litertlm": ".litertlm"}


def artifact_format(path: Path) -> str:
    """Returns the format of an artifact, by its name and files.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If it is no artifact.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist. Name an artifact that `gpt2-keras export` wrote."
        )
    for name, suffix in _SUFFIXES.items():
        if path.is_file() and path.suffix == suffix:
            return name
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return "tf_saved_model"
    entries = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    versions = sorted((name for name in entries if name.isdecimal()), key=int)
    advice = f"Name the version: {path / versions[-1]}." if versions else "Name another path."
    raise ValueError(
        f"{path} is no artifact: neither a SavedModel, a directory with saved_model.pb, nor a "
        f".tflite or .litertlm file. {advice}"
    )


def check_suffix(path: Path, format: str) -> None:  # noqa: A002 -- Keras' name
    """Raises a ValueError if a file to be written would not be known by its name."""
    suffix = _SUFFIXES[format]
    if path.suffix != suffix:
        raise ValueError(
            f"filepath={str(path)!r} does not end in {suffix}, by which the certificate of a "
            f"{format} file finds it. Name it *{suffix}, or use certificate=False."
        )


def open_artifact(path: Path) -> Artifact:
    """Loads an artifact.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ImportError: If its runtime is not installed.
        ValueError: If it is no artifact, or cannot be loaded.
    """
    return _CLASSES[artifact_format(path)](path)
