"""A SavedModel as an artifact to compare."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from gpt2_keras.json_text import parse_json
from gpt2_keras.model import GPT2Model
from gpt2_keras.verification.artifact import Artifact, GreedyText, TaskAnswer

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"  # tensorflow/python/trackable/base.py
# What the export says of itself, where TensorFlow Serving leaves it alone.
METADATA_FILE = "assets.extra/gpt2_keras.json"
_SIGNATURES = ("serving_default", "generate", "score", "tokenize", "detokenize")


class SavedModelArtifact(Artifact):
    """A SavedModel with the signatures of `saved_model.to_saved_model`.

    Raises:
        ValueError: If it cannot be loaded, or lacks a signature.
    """

    format = "tf_saved_model"
    op_set = "TensorFlow's core ops"
    reads_text = True
    gives_logits = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._loaded = tf.saved_model.load(str(path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ValueError(
                f"{path} is no SavedModel that loads: {error}. Export it again."
            ) from error
        self._signatures: Any = self._loaded.signatures
        missing = [name for name in _SIGNATURES if name not in self._signatures]
        if missing:
            raise ValueError(
                f"{path} lacks the signatures {', '.join(missing)}. A SavedModel to compare has "
                f"{', '.join(_SIGNATURES)}. Export it again."
            )
        contents = saved_model_pb2.SavedModel()
        contents.ParseFromString((path / "saved_model.pb").read_bytes())
        self._graph = contents.meta_graphs[0]

    @property
    def dtype(self) -> str:
        """The smallest type among the variables' types."""
        found = {dtype.name for dtype in self._reader.get_variable_to_dtype_map().values()}
        return next((t for t in ("int8", "float16", "bfloat16") if t in found), "float32")

    @property
    def _reader(self) -> Any:
        return tf.train.load_checkpoint(str(self.path / "variables" / "variables"))

    def weights(self) -> list[np.ndarray] | None:
        """Returns the stored variables, with their scales if they are int8."""
        reader = self._reader
        found: list[np.ndarray] = []
        for index in itertools.count():
            value, scale = (f"weights/{name}/{index}{_VALUE}" for name in ("values", "scales"))
            if not reader.has_tensor(value):
                return found
            array = reader.get_tensor(value).astype(np.float32)
            scales = reader.get_tensor(scale) if reader.has_tensor(scale) else np.float32(1)
            found.append(array * scales)
        return found

    def ops(self) -> list[str]:
        """Returns the ops of the graph and its functions."""
        graph = self._graph.graph_def
        functions = {function.signature.name for function in graph.library.function}
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        return sorted({node.op for node in nodes} - functions)

    def non_builtin_ops(self) -> list[str]:
        """Returns the ops that are not in `tf.raw_ops`.

        The ops that a library adds to the running process are not in there, unlike in
        the registry.
        """
        return [name for name in self.ops() if not hasattr(tf.raw_ops, name)]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the outputs of `tokenize`."""
        answers = self._signatures["tokenize"](text=_strings(texts))
        return [row.tolist() for row in _rows(answers, "token_ids")]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
        """Returns the outputs of `detokenize`."""
        ids = tf.ragged.constant([list(row) for row in rows], tf.int32, ragged_rank=1)
        counts = tf.cast(ids.row_lengths(), tf.int32)
        answers = self._signatures["detokenize"](token_ids=ids.to_tensor(), num_tokens=counts)
        return list(answers["text_bytes"].numpy())

    def max_new_tokens(self, model: GPT2Model) -> int:  # noqa: ARG002 -- the interface
        """Returns the number that `serving_default` was exported with."""
        return int(self._defaults["max_new_tokens"][0])

    @property
    def _defaults(self) -> dict[str, np.ndarray]:
        """The parameters of `generate` that a request may leave out."""
        defaults = self._graph.signature_def["generate"].defaults
        return {name: tf.make_ndarray(defaults[name]) for name in defaults}

    def generate_greedily(self, prompts: Sequence[str], model: GPT2Model) -> list[GreedyText]:
        """Returns the outputs of `serving_default`, or of `generate` where that samples."""
        numbers = self._defaults
        # With a task inside, the default answers it.
        if numbers["temperature"][0] or self.task() is not None:
            numbers["temperature"] = np.zeros(1, np.float32)
            values = {name: tf.constant(value) for name, value in numbers.items()}
            answers = self._signatures["generate"](text=_strings(prompts), **values)
        else:
            answers = self._signatures["serving_default"](text=_strings(prompts))
        texts = answers["text"].numpy()
        limit = self.max_new_tokens(model)
        pairs = zip(prompts, texts, strict=True)
        return [GreedyText(prompt, text.decode(), limit) for prompt, text in pairs]

    def task(self) -> dict[str, Any] | None:
        """Returns the task in the file that the export writes beside the graph."""
        file = self.path / METADATA_FILE
        contents = parse_json(file.read_bytes()) if file.is_file() else {}
        found: dict[str, Any] | None = contents.get("task")
        return found

    def answer(self, name: str, row: Mapping[str, str]) -> TaskAnswer:
        """Returns the outputs of the signature of the task."""
        answer = self._signatures[name](**{key: _strings([text]) for key, text in row.items()})
        probabilities = answer["probabilities"].numpy()[0].tolist() if "labels" in answer else []
        return TaskAnswer(answer["text"].numpy()[0].decode(), probabilities)

    def log_probs(self, texts: Sequence[str], model: GPT2Model) -> list[np.ndarray]:  # noqa: ARG002
        """Returns the outputs of `score`."""
        return _rows(self._signatures["score"](text=_strings(texts)), "log_probs")


def _strings(texts: Sequence[str]) -> tf.Tensor:
    return tf.constant([text.encode() for text in texts], tf.string)


def _rows(answers: dict[str, tf.Tensor], name: str) -> list[np.ndarray]:
    """Returns the rows of an output without their padding."""
    counts = answers["num_tokens"].numpy()
    return [row[:count] for row, count in zip(answers[name].numpy(), counts, strict=True)]
