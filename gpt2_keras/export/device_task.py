"""A task as a signature of a `.tflite` file: bytes in, the answer's bytes out."""

from typing import Any

import numpy as np
import tensorflow as tf

from gpt2_keras.applications import ClassificationTask, Task, TextTask
from gpt2_keras.applications.post_processing import WHITE_SPACE
from gpt2_keras.export.device_graph import DeviceModel
from gpt2_keras.export.label_graph import LabelScorer
from gpt2_keras.export.task_graph import TaskPrompt, answer_span, task_processors
from gpt2_keras.export.tasks import prompt_of
from gpt2_keras.export.text_graph import Tensors
from gpt2_keras.generation.sampler import sampling_tensors
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.graph.litert import LiteRTTokenizer

_SPACES = [ord(character) for character in WHITE_SPACE]


class DeviceTask:
    """What a `.tflite` file answers for a task, one text at a time.

    Args:
        model: The model.
        device: Its functions of bytes.
        task: The task.
    """

    def __init__(self, model: GPT2Model, device: DeviceModel, task: Task) -> None:
        self._model, self._device, self._task = model, device, task
        self._fields = prompt_of(task).fields
        allowed = model.require_tokenizer().with_special_tokens_policy("none").allowed_special
        self._tokenizer: LiteRTTokenizer = device.tokenizer.with_allowed_special(allowed)
        context = device.decoder.context_length
        if isinstance(task, ClassificationTask):
            self._scorer = LabelScorer(model, task, context)
            self._prompt = self._scorer.prompt
        else:
            self._prompt = TaskPrompt(model, task, context)

    def inputs(self) -> list[tf.TensorSpec]:
        """Returns the spec of each input."""
        return [tf.TensorSpec([None], tf.uint8, name=field.name) for field in self._fields]

    def run(self, *texts: Any) -> Tensors:
        """Answers one text.

        Args:
            *texts: For each field uint8 `(size,)`, UTF-8; `(0,)` for none.

        Returns:
            `text`, uint8 `(size,)`: the answer, or the label; of a text task `token_ids`, int32
            `(tokens,)`, and `num_tokens`, int32 `()`; of a classification `probabilities`,
            float32 `(labels,)`, and `index`, int32 `()`, of the label; `num_cropped`, int32 `()`.
        """
        fields = {
            field.name: self._ids(text, field.before)
            for field, text in zip(self._fields, texts, strict=True)
        }
        ids, cropped, too_many = self._prompt(fields)
        # A sum, as LiteRT.js cannot output what follows from shapes alone.
        counts = {"num_cropped": cropped + too_many}
        if isinstance(self._task, ClassificationTask):
            return {**self._classify(self._task, ids), **counts}
        return {**self._answer(self._task, ids), **counts}

    def _ids(self, text: tf.Tensor, before: str) -> tf.Tensor:
        """Returns the ids of a text without white space at its edges, int32 `(tokens,)`."""
        size = tf.size(text)
        codes = tf.cast(text, tf.int32)
        is_space = tf.equal(codes, _SPACES[0])
        for space in _SPACES[1:]:
            is_space = tf.logical_or(is_space, tf.equal(codes, space))
        index = tf.range(size)
        ends = tf.concat([tf.where(is_space, 0, index + 1), [0]], axis=0)
        end = tf.reduce_max(ends)
        start = tf.reduce_min(tf.concat([tf.where(is_space, end, index), [end]], axis=0))
        data = tf.gather(text, tf.range(start, end))
        if before:
            prefix = tf.constant([*before.encode(), 0], tf.uint8)
            length = len(before.encode()) * tf.cast(end > start, tf.int32)
            data = tf.concat([tf.gather(prefix, tf.range(length)), data], axis=0)
        return self._tokenizer.tokenize(data)["token_ids"]

    def _answer(self, task: TextTask, ids: tf.Tensor) -> Tensors:
        sampling = sampling_tensors(task.sampler, np.zeros(1, "int32"))
        decoder = self._device.decoder
        room = decoder.context_length - tf.size(ids)
        limits = tf.expand_dims(tf.minimum(task.max_new_tokens, room), 0)
        new_ids = decoder.generate(ids, sampling, limits, task_processors(self._model, task))
        text = self._device.tokenizer.detokenize(new_ids)["text"]
        codes = tf.expand_dims(tf.cast(text, tf.int32), 0)  # (1, size)
        start, end = answer_span(codes, tf.expand_dims(tf.size(text), 0), task)
        return {
            "text": tf.gather(text, tf.range(start[0], end[0])),
            "token_ids": new_ids,
            "num_tokens": tf.reduce_sum(tf.cast(new_ids >= 0, tf.int32)),
        }

    def _classify(self, task: ClassificationTask, ids: tf.Tensor) -> Tensors:
        probabilities = self._scorer.probabilities(ids)
        index = tf.argmax(probabilities, output_type=tf.int32)
        names = [label.encode() for label in task.labels]
        ends = np.cumsum([0, *map(len, names)]).astype("int32")
        table = tf.constant(list(b"".join(names)), tf.uint8)
        span = tf.gather(tf.constant(ends), tf.stack([index, index + 1]))
        return {
            "text": tf.gather(table, tf.range(span[0], span[1])),
            "index": index,
            "probabilities": probabilities,
        }
