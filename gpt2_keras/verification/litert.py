"""A `.tflite` file as an artifact to compare, run by LiteRT."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2_keras.generation.finish_reason import FINISH_REASONS
from gpt2_keras.model import GPT2Model
from gpt2_keras.verification.artifact import GreedyText, TaskAnswer
from gpt2_keras.verification.litert_metadata import LiteRTBased, read_metadata

_TEXT_SIGNATURES = ("tokenize", "detokenize", "generate", "prefill", "decode")
_MAX_NEW_TOKENS = 16


class LiteRTArtifact(LiteRTBased):
    """A `.tflite` file with the signatures of `litert.to_litert`.

    Raises:
        ImportError: If ai-edge-litert is missing.
        ValueError: If the file cannot be loaded, or has no signature that gives logits.
    """

    format = "litert"
    gives_logits = True

    def __init__(self, path: Path) -> None:
        interpreter = _interpreter(path)  # first: it says what is wrong with another file
        data = np.memmap(path, mode="r")
        super().__init__(path, data)
        self._metadata = read_metadata(data) or {}
        names = interpreter.get_signature_list()
        if not {"logits"} & set(names) and not {"prefill", "decode"} <= set(names):
            raise ValueError(
                f"{path} has the signatures {', '.join(names) or 'none'}. A .tflite file to "
                "compare has prefill and decode, or logits. Export it again."
            )
        self._run = {name: interpreter.get_signature_runner(name) for name in names}
        self.reads_text = set(_TEXT_SIGNATURES) <= set(names)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the outputs of `tokenize`."""
        data = [np.frombuffer(text.encode(), np.uint8) for text in texts]
        return [self._run["tokenize"](text=each)["token_ids"].tolist() for each in data]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
        """Returns the outputs of `detokenize`."""
        ids = [np.array(row, np.int32) for row in rows]
        return [self._run["detokenize"](token_ids=row)["text_bytes"].tobytes() for row in ids]

    def max_new_tokens(self, model: GPT2Model) -> int:
        """Returns 16, or half a smaller context."""
        return max(1, min(_MAX_NEW_TOKENS, model.config.context_length // 2))

    def generate_greedily(self, prompts: Sequence[str], model: GPT2Model) -> list[GreedyText]:
        """Returns the texts of `generate`, then those of a host's loop over `decode`."""
        limit = self.max_new_tokens(model)
        texts = [self._generate(prompt, limit) for prompt in prompts]
        return [*texts, *(self._stream(each, model.end_token_ids) for each in texts)]

    def _generate(self, prompt: str, limit: int) -> GreedyText:
        answer = self._run["generate"](
            text=np.frombuffer(prompt.encode(), np.uint8),
            max_new_tokens=np.array([limit], np.int32),
            temperature=np.zeros(1, np.float32),
            top_k=np.zeros(1, np.int32),
            seed=np.zeros(1, np.int32),
        )
        if FINISH_REASONS[int(answer["finish_reason"])] == "context":
            limit = int(answer["num_tokens"])  # exported with a shorter context than the model's
        return GreedyText(prompt, answer["text"].tobytes().decode(), limit)

    def _stream(self, generated: GreedyText, end_token_ids: Sequence[int]) -> GreedyText:
        """Returns the same prompt continued token by token."""
        prompt, limit = generated.prompt, generated.max_new_tokens
        (ids,) = self.encode([prompt])
        logits = self._run["prefill"](token_ids=np.array(ids, np.int32))["logits"]
        new_ids: list[int] = []
        while len(new_ids) < limit and (token := int(logits[0].argmax())) not in end_token_ids:
            position = np.array([len(ids) + len(new_ids)], np.int32)
            new_ids.append(token)
            if len(new_ids) < limit:
                logits = self._run["decode"](
                    token_id=np.array([token], np.int32), position=position
                )["logits"]
        (added,) = self.decode([new_ids])
        text = prompt + added.decode(errors="replace")
        return GreedyText(prompt, text, limit, by_config=False)

    def logits(self, token_ids: np.ndarray) -> np.ndarray:
        """Returns the output of `logits`; or of `prefill` of one token, and `decode`."""
        if "logits" in self._run:
            whole: np.ndarray = self._run["logits"](token_ids=token_ids)["logits"]
            return whole
        rows = []
        for ids in token_ids:
            steps = [self._run["prefill"](token_ids=ids[:1])["logits"][0].copy()]
            for position in range(1, len(ids)):
                answer = self._run["decode"](
                    token_id=ids[position : position + 1], position=np.array([position], np.int32)
                )
                steps.append(answer["logits"][0].copy())
            rows.append(steps)
        return np.array(rows)

    def task(self) -> dict[str, Any] | None:
        """Returns the task in the file's metadata."""
        found: dict[str, Any] | None = self._metadata.get("task")
        return found

    def answer(self, name: str, row: Mapping[str, str]) -> TaskAnswer:
        """Returns the outputs of the signature of the task."""
        texts = {key: np.frombuffer(text.encode(), np.uint8) for key, text in row.items()}
        answer = self._run[name](**texts)
        probabilities = answer["probabilities"].tolist() if "probabilities" in answer else []
        return TaskAnswer(answer["text"].tobytes().decode(), probabilities)

    def context_length(self, model: GPT2Model) -> int:
        """Returns the number in the file's metadata."""
        config = self._metadata.get("config", {})
        return int(config.get("context_length", super().context_length(model)))


def require_litert() -> Any:
    """Returns LiteRT's interpreter class.

    Raises:
        ImportError: If ai-edge-litert is missing.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError(
            "ai-edge-litert is not installed, which the certificate of a .tflite file needs. "
            "Run: pip install 'gpt2-keras[litert]', or use certificate=False."
        ) from error
    return Interpreter


def _interpreter(path: Path) -> Any:
    interpreter_class = require_litert()
    try:
        return interpreter_class(model_path=str(path))
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} is no .tflite file that loads: {error}. Export it again."
        ) from error
