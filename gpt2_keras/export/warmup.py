"""Warm-up requests, which TensorFlow Serving runs before it answers."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from gpt2_keras.applications import Task
from gpt2_keras.export.tasks import prompt_of

# The file that TensorFlow Serving reads, and the largest number of its records.
# https://www.tensorflow.org/tfx/serving/saved_model_warmup
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000
BATCH_SIZES = (1, 8)
TEXTS = ("Once upon a time", "In the beginning of the story there was a very small model. ")


def write_warmup(
    directory: Path,
    max_new_tokens: int,
    *,
    required: bool | None = None,
    task: Task | None = None,
) -> None:
    """Writes requests for each signature and the usual batch sizes.

    Args:
        directory: The SavedModel.
        max_new_tokens: Of the requests to `generate`.
        required: True writes them or fails; None writes them if
            `tensorflow-serving-api` is installed; False does not write them.
        task: The task inside, if there is one.

    Raises:
        ImportError: If `required`, and `tensorflow-serving-api` is missing.
    """
    if required is False:
        return
    if importlib.util.find_spec("tensorflow_serving") is None:
        if required:
            raise ImportError(
                "tensorflow-serving-api is not installed, which warm-up requests need. "
                "Run: pip install 'gpt2-keras[serving]', or export with warmup=False."
            )
        return
    path = directory / WARMUP_FILE
    path.parent.mkdir()
    requests = [
        (name, inputs)
        for batch_size in BATCH_SIZES
        for text in TEXTS
        for name, inputs in _requests([text] * batch_size, max_new_tokens, task)
    ]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, inputs in requests[:MAX_RECORDS]:
            writer.write(_record(name, inputs))


def _requests(
    texts: list[str], max_new_tokens: int, task: Task | None = None
) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Returns one request to each signature, (name, inputs)."""
    text = {"text": np.array(texts, object)}
    count = len(texts)
    sampling = {
        "max_new_tokens": np.full(count, max_new_tokens, "int32"),
        "temperature": np.full(count, 0.8, "float32"),
        "top_k": np.full(count, 40, "int32"),
        "top_p": np.full(count, 0.95, "float32"),
        "repetition_penalty": np.full(count, 1.1, "float32"),
        "seed": np.arange(count, dtype="int32"),
    }
    ids = {"token_ids": np.zeros((count, 4), "int32"), "num_tokens": np.full(count, 4, "int32")}
    asked = text
    if task is not None:
        asked = {field.name: text["text"] for field in prompt_of(task).fields}
    return [
        *([(task.name, asked)] if task is not None else []),
        ("serving_default", asked),
        ("generate", text | sampling),
        ("score", text),
        ("score_tokens", ids),
        ("generate_tokens", ids | sampling),
        ("next_token", text),
        ("tokenize", text),
        ("detokenize", ids),
    ]


def _record(signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    """Returns a serialized PredictionLog."""
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request: Any = log.predict_log.request
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    serialized: bytes = log.SerializeToString()
    return serialized
