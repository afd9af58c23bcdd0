"""An artifact as a certificate sees it: files, ops, and answers to compare."""

import abc
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from gpt2_keras.model import GPT2Model

CERTIFICATE_NAME = "certificate.json"


class Continuation(NamedTuple):
    """A prompt, the prompt with new text, and how many tokens that may have."""

    prompt: str
    text: str
    limit: int


class Artifact(abc.ABC):
    """A loaded artifact.

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
    def new_tokens(self, model: GPT2Model) -> int:
        """Returns how many tokens `continue_greedily` adds at most."""

    @abc.abstractmethod
    def continue_greedily(self, prompts: Sequence[str], model: GPT2Model) -> list[Continuation]:
        """Returns prompts with the likeliest tokens added, in every way it has.

        Of the model only its end token and sizes may be used.
        """

    def context_length(self, model: GPT2Model) -> int:
        """Returns how many tokens it can look at; by default as many as the model."""
        return model.config.context_length

    def unreadable(self, model: GPT2Model) -> tuple[str, ...]:  # noqa: ARG002 -- of subclasses
        """Returns what its runtime cannot be given as text; by default nothing."""
        return ()

    def logits(self, token_ids: np.ndarray) -> np.ndarray:
        """Returns the logits of one text; int32 (1, time) → float32 (1, time, vocab)."""
        raise NotImplementedError

    def log_probs(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Returns the log-probability of every token of texts, each float32 (tokens,)."""
        raise NotImplementedError


def certificate_path(path: Path) -> Path:
    """Returns where the certificate of an artifact is.

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
    """Returns the SHA-256 of every file of an artifact, its certificate left out.

    A file that is the whole artifact is called `model` here, whatever its name.
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
