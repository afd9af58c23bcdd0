"""The interface through which every format of artifact is compared with its model."""

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gpt2_keras.model import GPT2Model


class GreedyText(NamedTuple):
    """A prompt, the prompt with its new text, and the largest number of new tokens."""

    prompt: str
    text: str
    max_new_tokens: int
    by_config: bool = True  # whether it follows penalties and bans of the generation config


class TaskAnswer(NamedTuple):
    """The answer to a task: a text or a label, and the probabilities of the labels if any."""

    text: str
    probabilities: list[float]


class Artifact(abc.ABC):
    """A loaded artifact.

    Args:
        path: Its file, or the directory of a SavedModel.

    Attributes:
        format: Its format, as `export` names it.
        op_set: The ops that its runtime has built in, in words.
        reads_text: Whether it has a tokenizer.
        gives_logits: Whether it has `logits`; `log_probs` if not.
    """

    format: ClassVar[str]
    op_set: ClassVar[str]
    reads_text: bool
    gives_logits: bool

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abc.abstractmethod
    def dtype(self) -> str:
        """How the weights are stored: float32, float16, bfloat16, int8 or int4."""

    @abc.abstractmethod
    def ops(self) -> list[str]:
        """Returns the names of its ops, sorted."""

    @abc.abstractmethod
    def non_builtin_ops(self) -> list[str]:
        """Returns the names of the ops that its runtime does not have built in."""

    @abc.abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of texts."""

    @abc.abstractmethod
    def decode(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
        """Returns the bytes of token ids."""

    @abc.abstractmethod
    def max_new_tokens(self, model: GPT2Model) -> int:
        """Returns the largest number of tokens that `generate_greedily` adds."""

    @abc.abstractmethod
    def generate_greedily(self, prompts: Sequence[str], model: GPT2Model) -> list[GreedyText]:
        """Returns the greedy continuation of each prompt, by every signature that makes one.

        Of the model only its end tokens and sizes may be used.
        """

    def context_length(self, model: GPT2Model) -> int:
        """Returns the number of tokens it can attend to; by default that of the model."""
        return model.config.context_length

    def unsupported_strings(self, model: GPT2Model) -> tuple[str, ...]:  # noqa: ARG002 -- overridden
        """Returns the strings that its runtime does not read as text; by default none."""
        return ()

    def task(self) -> dict[str, Any] | None:
        """Returns the task that it has inside, as its metadata says; None if it has none."""
        return None

    def answer(self, name: str, row: Mapping[str, str]) -> TaskAnswer:
        """Returns what it answers for the task of a name; `row` has the texts of its fields."""
        raise NotImplementedError

    def weights(self) -> list[np.ndarray] | None:
        """Returns the weights in the order of the model's, float32; None if they cannot be read."""
        return None

    def logits(self, token_ids: np.ndarray) -> np.ndarray:
        """Returns the logits of one text; int32 (1, time) → float32 (1, time, vocab)."""
        raise NotImplementedError

    def log_probs(self, texts: Sequence[str], model: GPT2Model) -> list[np.ndarray]:
        """Returns the log-probability of every token of texts, each float32 (tokens,).

        Of the model only the end token that stands before each text may be used.
        """
        raise NotImplementedError
