"""Artifacts as models of lm-evaluation-harness: a SavedModel, a `.tflite` file."""

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2_keras.evaluation.harness_models import Answer, HarnessModel, Progress
from gpt2_keras.generation.spans import Span
from gpt2_keras.generation.streaming import TextDeltas
from gpt2_keras.json_text import parse_json
from gpt2_keras.verification.litert import require_litert
from gpt2_keras.verification.litert_metadata import read_metadata
from gpt2_keras.verification.saved_model import METADATA_FILE

# Of `score_tokens` and `generate_tokens`, whose logits are batch × time × vocab floats.
_DEFAULT_BATCH = 8


class ArtifactHarnessModel(HarnessModel):
    """What both formats of artifact share: their own tokenizer, and stop strings on the host."""

    def __init__(self, path: str, metadata: dict[str, Any]) -> None:
        if "start_token_id" not in metadata:
            raise ValueError(
                f"{path} has no metadata of a model with a tokenizer, which lm-evaluation-harness "
                "asks texts of. Export a model with a tokenizer again."
            )
        self.end_token_id = int(metadata["start_token_id"])
        self.end_token_ids = set(metadata["end_token_ids"])
        self.max_length = int(metadata["config"]["context_length"])

    def _text(self, token_ids: Sequence[int], stop: list[str]) -> str:
        """Returns the text of new tokens, up to a stop string."""
        deltas = TextDeltas(self, stop)
        return deltas.feed(token_ids) + deltas.finish()

    @abc.abstractmethod
    def decode_bytes(self, token_ids: Sequence[int]) -> bytes:
        """Returns the bytes of ids."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Returns the text of ids."""
        return self.decode_bytes(token_ids).decode("utf-8", errors="replace")


class SavedModelHarnessModel(ArtifactHarnessModel):
    """A SavedModel, by its signatures of token ids.

    Args:
        path: Its directory, with `saved_model.pb`.
    """

    def __init__(self, path: str) -> None:
        import tensorflow as tf

        file = Path(path) / METADATA_FILE
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} does not exist. saved_model={path} must be a SavedModel that "
                "`gpt2-keras export` wrote, such as serving/1."
            )
        super().__init__(path, parse_json(file.read_text(encoding="utf-8")))
        self._tf = tf
        self._loaded = tf.saved_model.load(path)
        self._signatures = self._loaded.signatures

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the outputs of `tokenize`."""
        answer = self._signatures["tokenize"](
            text=self._tf.constant([text.encode("utf-8", "replace") for text in texts])
        )
        pairs = zip(answer["token_ids"].numpy(), answer["num_tokens"].numpy(), strict=True)
        return [row[:count].tolist() for row, count in pairs]

    def decode_bytes(self, token_ids: Sequence[int]) -> bytes:
        """Returns the output of `detokenize`."""
        answer = self._signatures["detokenize"](**self._rows([list(token_ids)]))
        data: bytes = answer["text_bytes"].numpy()[0]
        return data

    def score(
        self, spans: Sequence[Span], batch_size: int | None, on_progress: Progress
    ) -> list[Answer]:
        """Returns sums of the outputs of `score_tokens`, the longest spans first."""
        order = sorted(range(len(spans)), key=lambda index: -len(spans[index].inputs))
        total = sum(len(span.targets) for span in spans)
        found: dict[int, Answer] = {}
        done = 0
        size = batch_size or _DEFAULT_BATCH
        for batch in (order[start : start + size] for start in range(0, len(order), size)):
            rows = [[*spans[i].inputs.tolist(), int(spans[i].targets[-1])] for i in batch]
            answer = self._signatures["score_tokens"](**self._rows(rows))
            log_probs, ranks = answer["log_probs"].numpy(), answer["ranks"].numpy()
            for row, index in enumerate(batch):
                end, count = len(rows[row]) - 1, len(spans[index].targets)
                own = slice(end - count, end)
                loss = float(log_probs[row, own].astype("float64").sum())
                found[index] = (loss, not ranks[row, own].any())
                done += count
            on_progress(done, total)
        return [found[index] for index in range(len(spans))]

    def generate(
        self, prompts: Sequence[list[int]], max_new_tokens: int, stop: list[str], **numbers: Any
    ) -> list[str]:
        """Returns the texts of the outputs of `generate_tokens`."""
        tf = self._tf
        values = {"max_new_tokens": max_new_tokens, "seed": 0, "top_k": 0, "top_p": 1.0}
        values |= {"repetition_penalty": 1.0, **numbers}
        known = self._signatures["generate_tokens"].structured_input_signature[1]
        for name, value in values.items():
            if name not in known:
                raise ValueError(
                    f"{name}={value} cannot be set with saved_model=. Leave it out, or use "
                    "pretrained=."
                )
        settings = {k: tf.constant([v], known[k].dtype) for k, v in values.items()}
        answer = self._signatures["generate_tokens"](**self._rows(prompts), **settings)
        rows = zip(answer["token_ids"].numpy(), answer["num_tokens"].numpy(), strict=True)
        return [self._text(ids[:count].tolist(), stop) for ids, count in rows]

    def _rows(self, rows: Sequence[list[int]]) -> dict[str, Any]:
        """Returns rows of ids as the inputs of a signature, padded on the right."""
        counts = [len(row) for row in rows]
        padded = [row + [self.end_token_id] * (max(counts) - len(row)) for row in rows]
        integers = {"token_ids": np.array(padded, "int32"), "num_tokens": np.array(counts, "int32")}
        return {name: self._tf.constant(value) for name, value in integers.items()}


class LiteRTHarnessModel(ArtifactHarnessModel):
    """A `.tflite` file, one text at a time, by `prefill` and `decode`.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        interpreter_class = require_litert()
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} does not exist. Check the spelling of tflite=.")
        super().__init__(path, read_metadata(np.memmap(path, mode="r")) or {})
        interpreter = interpreter_class(model_path=path)
        names = ("tokenize", "detokenize", "prefill", "decode")
        self._run = {name: interpreter.get_signature_runner(name) for name in names}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the outputs of `tokenize`."""
        data = [np.frombuffer(text.encode("utf-8", "replace"), np.uint8) for text in texts]
        return [self._run["tokenize"](text=each)["token_ids"].tolist() for each in data]

    def decode_bytes(self, token_ids: Sequence[int]) -> bytes:
        """Returns the output of `detokenize`."""
        answer = self._run["detokenize"](token_ids=np.array(token_ids, np.int32))
        data: bytes = answer["text_bytes"].tobytes()
        return data

    def score(
        self, spans: Sequence[Span], batch_size: int | None, on_progress: Progress
    ) -> list[Answer]:
        """Returns sums of log-probabilities, of the logits of one token after the other."""
        del batch_size  # the file reads one text at a time
        total, done = sum(len(span.targets) for span in spans), 0
        found = []
        for span in spans:
            # The last token is always decoded, as `prefill` leaves room for one.
            read = max(1, min(len(span.inputs) - 1, len(span.inputs) - len(span.targets) + 1))
            rows = [self._prefill(span.inputs[:read])]
            rows += [self._decode(span.inputs[i], i) for i in range(read, len(span.inputs))]
            logits = np.stack(rows[-len(span.targets) :]).astype("float64")  # (count, vocab)
            own = logits[np.arange(len(span.targets)), span.targets]
            largest = logits.max(axis=1)
            sums = np.exp(logits - largest[:, None]).sum(axis=1)
            log_probs = own - largest - np.log(sums)
            found.append((float(log_probs.sum()), bool((own == largest).all())))
            done += len(span.targets)
            on_progress(done, total)
        return found

    def generate(
        self, prompts: Sequence[list[int]], max_new_tokens: int, stop: list[str], **numbers: Any
    ) -> list[str]:
        """Returns the texts of a host's greedy loop over `decode`."""
        given = {name: value for name, value in numbers.items() if name != "temperature" or value}
        if given:
            raise ValueError(
                f"{', '.join(f'{k}={v}' for k, v in given.items())} cannot be set with tflite=, "
                "which generates greedily. Leave it out, or use pretrained=."
            )
        return [self._greedy(ids, max_new_tokens, stop) for ids in prompts]

    def _greedy(self, ids: list[int], max_new_tokens: int, stop: list[str]) -> str:
        deltas = TextDeltas(self, stop)
        logits, text = self._prefill(np.array(ids, np.int32)), ""
        for position in range(len(ids), len(ids) + max_new_tokens):
            token = int(logits.argmax())
            if token in self.end_token_ids:
                break
            text += deltas.feed([token])
            if deltas.stopped or position + 1 == len(ids) + max_new_tokens:
                break
            logits = self._decode(token, position)
        return text + deltas.finish()

    def _prefill(self, ids: np.ndarray) -> np.ndarray:
        logits: np.ndarray = self._run["prefill"](token_ids=ids)["logits"][0].copy()
        return logits

    def _decode(self, token: Any, position: int) -> np.ndarray:
        answer = self._run["decode"](
            token_id=np.array([token], np.int32), position=np.array([position], np.int32)
        )
        logits: np.ndarray = answer["logits"][0].copy()
        return logits
