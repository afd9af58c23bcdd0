"""An artefact as a certificate sees it: files, ops, and answers to compare."""

import abc
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from gpt2_keras.model import GPT2LM

CERTIFICATE_NAME = "certificate.json"
# The names of artefacts that are a file.
SUFFIXES = {"litert": ".tflite", "litertlm": ".litertlm"}


class Continuation(NamedTuple):
    """A prompt, the prompt with new text, and how many tokens that may have."""

    prompt: str
    text: str
    limit: int


class Artefact(abc.ABC):
    """A loaded artefact.

    Args:
        path: Where it is.

    Attributes:
        kind: Its format, as `export` names it.
        home: Which ops it may have, in words.
        reads_text: Whether it has a tokenizer.
        gives_logits: Whether it has `logits`; `log_probs` if not.
    """

    kind: ClassVar[str]
    home: ClassVar[str]
    reads_text: bool
    gives_logits: bool

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abc.abstractmethod
    def dtype(self) -> str:
        """How the weights are stored: float32, float16, bfloat16, int8 or int4."""

    @abc.abstractmethod
    def operators(self) -> list[str]:
        """Returns the names of its ops, sorted."""

    @abc.abstractmethod
    def foreign_operators(self) -> list[str]:
        """Returns those that its runtime does not have built in."""

    @abc.abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of texts."""

    @abc.abstractmethod
    def decode(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
        """Returns the bytes of token ids."""

    @abc.abstractmethod
    def new_tokens(self, model: GPT2LM) -> int:
        """Returns how many tokens `continue_greedily` adds at most."""

    @abc.abstractmethod
    def continue_greedily(self, prompts: Sequence[str], model: GPT2LM) -> list[Continuation]:
        """Returns prompts with the likeliest tokens added, in every way it has.

        Of the model only its end token and sizes may be used.
        """

    def context_length(self, model: GPT2LM) -> int:
        """Returns how many tokens it can look at; by default as many as the model."""
        return model.config.context_length

    def unreadable(self, model: GPT2LM) -> tuple[str, ...]:  # noqa: ARG002 -- of subclasses
        """Returns what its runtime cannot be given as text; by default nothing."""
        return ()

    def logits(self, token_ids: np.ndarray) -> np.ndarray:
        """Returns the logits of one text; int32 (1, time) → float32 (1, time, vocab)."""
        raise NotImplementedError

    def log_probs(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Returns the log-probability of every token of texts, each float32 (tokens,)."""
        raise NotImplementedError


def kind_of(path: Path) -> str:
    """Returns the format of what a path names, by its look alone.

    Raises:
        FileNotFoundError: If nothing is there.
        ValueError: If it is no artefact.
    """
    if not path.exists():
        raise FileNotFoundError(
            "An artefact is what `gpt2-keras export` wrote. "
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
        "An artefact is the version directory of a SavedModel, with saved_model.pb, or a .tflite "
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


def open_artefact(path: Path) -> Artefact:
    """Loads an artefact.

    Raises:
        FileNotFoundError: If nothing is there.
        ImportError: If its runtime is not installed.
        ValueError: If it is no artefact, or cannot be loaded.
    """
    kind = kind_of(path)
    if kind == "litert":
        from gpt2_keras.export.litert_artefact import LiteRTArtefact

        return LiteRTArtefact(path)
    if kind == "litertlm":
        from gpt2_keras.export.litertlm_artefact import LiteRTLMArtefact

        return LiteRTLMArtefact(path)
    from gpt2_keras.export.saved_model_artefact import SavedModelArtefact

    return SavedModelArtefact(path)


def certificate_path(path: Path) -> Path:
    """Returns where the certificate of an artefact is.

    Example:
        >>> certificate_path(Path("models/model.tflite")).as_posix()
        'models/model.certificate.json'
        >>> certificate_path(Path("models/model.litertlm")).as_posix()
        'models/model.litertlm.certificate.json'
    """
    if path.suffix == ".tflite":
        return path.with_name(f"{path.stem}.{CERTIFICATE_NAME}")
    if path.suffix == ".litertlm":
        return path.with_name(f"{path.name}.{CERTIFICATE_NAME}")
    return path / CERTIFICATE_NAME


def file_hashes(path: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file of an artefact, its certificate left out.

    A file that is the whole artefact is called `model` here, whatever its name.
    """
    if path.is_file():
        return {f"model{path.suffix}": _sha256(path)}
    files = {
        file.relative_to(path).as_posix(): file for file in path.rglob("*") if not file.is_dir()
    }
    files.pop(CERTIFICATE_NAME, None)
    return {name: _sha256(file) for name, file in sorted(files.items())}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
