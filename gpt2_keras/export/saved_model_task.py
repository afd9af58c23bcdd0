"""A task as a signature of a SavedModel: strings in, answers out."""

from typing import Any

import numpy as np
import tensorflow as tf

from gpt2_keras.applications import ClassificationTask, Task, TextTask
from gpt2_keras.export.label_graph import LabelScorer
from gpt2_keras.export.requests import per_row, require
from gpt2_keras.export.task_graph import TaskPrompt, answer_span, task_processors
from gpt2_keras.export.tasks import prompt_of
from gpt2_keras.export.text_graph import Tensors, TextModel
from gpt2_keras.generation.sampler import SamplingTensors, sampling_tensors
from gpt2_keras.model import GPT2Model


class SavedModelTask:
    """What a SavedModel answers for a task.

    Args:
        model: The model.
        text_model: Its functions of strings.
        task: The task.
    """

    def __init__(self, model: GPT2Model, text_model: TextModel, task: Task) -> None:
        self._model, self._text_model, self._task = model, text_model, task
        self._fields = prompt_of(task).fields
        # Those that must be given come first; one text is always needed.
        needed = {f.name: f.required or len(self._fields) == 1 for f in self._fields}
        self._needed = dict(sorted(needed.items(), key=lambda item: not item[1]))
        tokenizer = model.require_tokenizer()
        # What a user typed is text.
        self._allowed = tokenizer.with_special_tokens_policy("none").allowed_special
        self._end_token_id = tokenizer.end_token_id
        context = model.config.context_length
        if isinstance(task, ClassificationTask):
            self._scorer = LabelScorer(model, task, context)
            self._prompt = self._scorer.prompt
        else:
            self._prompt = TaskPrompt(model, task, context)

    def inputs(self) -> list[tuple[tf.TensorSpec, Any]]:
        """Returns the spec of each input, and its default: an optional text may be left out."""
        return [
            (tf.TensorSpec([None], tf.string, name=name), None if needed else tf.constant([""]))
            for name, needed in self._needed.items()
        ]

    def run(self, *texts: Any) -> Tensors:
        """Answers a batch.

        Args:
            *texts: For each of the inputs a string tensor `(batch,)`; of one that may be empty
                also `(1,)`, for all.

        Returns:
            Of a text task `text`, string `(batch,)`: the answers; `token_ids`, int32 `(batch,
            steps)`, and `num_tokens`, int32 `(batch,)`: what was generated. Of a classification
            `text`, string `(batch,)`: the labels; `labels`, string, and `probabilities`, float32,
            both `(batch, labels)`. Of both `num_cropped`, int32 `(batch,)`: how many tokens of
            the text were left out.
        """
        prompt_ids, cropped = self._prompts(dict(zip(self._needed, texts, strict=True)))
        if isinstance(self._task, ClassificationTask):
            return {**self._classify(self._task, prompt_ids), "num_cropped": cropped}
        return {**self._answer(self._task, prompt_ids), "num_cropped": cropped}

    def _prompts(self, named: dict[str, Any]) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Returns the ids of each prompt, and how many of its text were left out."""
        batch_size = tf.size(named[next(iter(self._needed))])
        rows = []
        for field in self._fields:
            text = per_row(field.name, named[field.name], batch_size)
            stripped = tf.strings.strip(text)
            if self._text_model.checks_texts:
                self._check(field.name, text, stripped, required=self._needed[field.name])
            filled = tf.strings.join([field.before, stripped])
            rows.append(tf.where(tf.equal(stripped, ""), stripped, filled))
        # All fields at once: the tokenizer is most of the graph.
        ids = self._text_model.tokenizer.tokenize(tf.concat(rows, axis=0), self._allowed)
        parts = tuple(
            ids[index * batch_size : (index + 1) * batch_size] for index in range(len(rows))
        )

        def prompt(one: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            names = (field.name for field in self._fields)
            return self._prompt(dict(zip(names, one, strict=True)))

        scalar = tf.TensorSpec([], tf.int32)
        found, cropped, too_many = tf.map_fn(
            prompt,
            parts,
            fn_output_signature=(tf.RaggedTensorSpec([None], tf.int32), scalar, scalar),
        )
        if self._text_model.checks_texts:
            message = (
                "The texts have {} tokens too many for the context of "
                f"{self._model.config.context_length} tokens. Shorten them."
            )
            require(tf.equal(too_many, 0), message, too_many)
        return found, cropped

    def _check(self, name: str, text: tf.Tensor, stripped: tf.Tensor, *, required: bool) -> None:
        """Makes the graph fail on texts that are not UTF-8, or empty where they must not be."""
        valid = tf.equal(tf.strings.unicode_transcode(text, "UTF-8", "UTF-8"), text)
        checks = [(valid, f"{name} is not valid UTF-8 in rows {{}}. Encode it in UTF-8.")]
        if required:
            empty = (
                f"{name} is empty in rows {{}}. Send at least one character that is no white space."
            )
            checks.append((tf.not_equal(stripped, ""), empty))
        for holds, message in checks:
            require(holds, message, tf.squeeze(tf.where(~holds), axis=1))

    def _answer(self, task: TextTask, prompt_ids: tf.RaggedTensor) -> Tensors:
        batch_size = prompt_ids.nrows(out_type=tf.int32)
        arrays = sampling_tensors(task.sampler, np.zeros(1, "int32"))
        # One number for all rows where it has no effect: nothing is added to the graph for it.
        per_text = {"temperature", "top_k", "top_p", "repetition_penalty", "seed"}
        sampling = SamplingTensors(
            **{
                name: tf.repeat(value, batch_size) if name in per_text else value
                for name, value in arrays._asdict().items()
            }
        )
        found = self._text_model.generate_tokens(
            prompt_ids.to_tensor(self._end_token_id),
            tf.cast(prompt_ids.row_lengths(), tf.int32),
            sampling,
            tf.fill([batch_size], task.max_new_tokens),
            task_processors(self._model, task),
        )
        text = self._text_model.text_of(found["token_ids"], found["num_tokens"])
        size = tf.strings.length(text)
        longest = tf.reduce_max(tf.concat([size, [1]], axis=0))
        codes = tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=longest), tf.int32)
        start, end = answer_span(codes, size, task)
        return {
            "text": tf.strings.substr(text, start, end - start),
            "token_ids": found["token_ids"],
            "num_tokens": found["num_tokens"],
        }

    def _classify(self, task: ClassificationTask, prompt_ids: tf.RaggedTensor) -> Tensors:
        probabilities = tf.map_fn(
            self._scorer.probabilities,
            prompt_ids,
            fn_output_signature=tf.TensorSpec([len(task.labels)], tf.float32),
        )
        labels = tf.constant(list(task.labels))
        batch_size = tf.shape(probabilities)[0]
        return {
            "text": tf.gather(labels, tf.argmax(probabilities, axis=1)),
            "labels": tf.tile(tf.expand_dims(labels, 0), [batch_size, 1]),
            "probabilities": probabilities,
        }
