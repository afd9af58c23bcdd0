"""From a path to the artifact that is there."""

from pathlib import Path

from gpt2_keras.verification.artifact import Artifact
from gpt2_keras.verification.litert import LiteRTArtifact
from gpt2_keras.verification.litertlm import LiteRTLMArtifact
from gpt2_keras.verification.saved_model import SavedModelArtifact

# The names of artifacts that are a file.
SUFFIXES = {"litert": ".tflite", "litertlm": ".litertlm"}


def kind_of(path: Path) -> str:
    """Returns the format of what a path names, by its look alone.

    Raises:
        FileNotFoundError: If nothing is there.
        ValueError: If it is no artifact.
    """
    if not path.exists():
        raise FileNotFoundError(
            "An artifact is what `gpt2-keras export` wrote. "
            f"Received: {path}, which is not there. Name another place."
        )
    for kind, suffix in SUFFIXES.items():
        if path.is_file() and path.suffix == suffix:
            return kind
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return "tf_saved_model"
    versions = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    numbered = sorted((name for name in versions if name.isdecimal()), key=int)
    advice = f"Name the version: {path / numbered[-1]}." if numbered else "Name another place."
    raise ValueError(
        "An artifact is the version directory of a SavedModel, with saved_model.pb, or a .tflite "
        f"or .litertlm file. Received: {path}, which is none of these. {advice}"
    )


def check_name(path: str | Path, kind: str) -> None:
    """Raises ValueError if a file to be written would not be known for what it is."""
    suffix = SUFFIXES[kind]
    if Path(path).suffix != suffix:
        raise ValueError(
            f"A {kind} file with a certificate must be named *{suffix}. "
            f"Received: path={str(path)!r}. Name it so, or export without a certificate."
        )


def open_artifact(path: Path) -> Artifact:
    """Loads an artifact.

    Raises:
        FileNotFoundError: If nothing is there.
        ImportError: If its runtime is not installed.
        ValueError: If it is no artifact, or cannot be loaded.
    """
    kind = kind_of(path)
    if kind == "litert":
        return LiteRTArtifact(path)
    if kind == "litertlm":
        return LiteRTLMArtifact(path)
    return SavedModelArtifact(path)
