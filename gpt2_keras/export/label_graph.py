"""Classification by prompt in a graph, as `applications/classify.py`, in ops that LiteRT has."""

import numpy as np
import tensorflow as tf

from gpt2_keras.applications.classify import ClassificationTask, label_text
from gpt2_keras.export.task_graph import TaskPrompt
from gpt2_keras.generation.padding import left_padding_mask
from gpt2_keras.model import GPT2Model


class LabelScorer:
    """The probabilities of labels after the prompt of a text, for one text at a time.

    Args:
        model: A model with a tokenizer.
        task: The task.
        context_length: Largest number of tokens of prompt and label.
    """

    def __init__(self, model: GPT2Model, task: ClassificationTask, context_length: int) -> None:
        tokenizer = model.require_tokenizer().with_special_tokens_policy("none")
        self._model, self._task = model, task
        self.prompt = TaskPrompt(model, task.prompt, context_length)
        self._labels = tokenizer.encode([label_text(label) for label in task.labels])
        self._longest = max(map(len, self._labels))
        self._padding_id = tokenizer.end_token_id

    def probabilities(self, prompt_ids: tf.Tensor) -> tf.Tensor:
        """Returns the calibrated probability of each label, float32 `(labels,)`.

        Args:
            prompt_ids: Int32 tensor `(time,)`.
        """
        longest, count = self._longest, tf.size(prompt_ids)
        rows = []  # of one length: padding, the prompt, a label
        for ids in self._labels:
            padding = tf.fill([longest - len(ids)], self._padding_id)
            rows.append(tf.concat([padding, prompt_ids, ids], axis=0))
        whole = tf.stack(rows)  # (labels, time + longest)
        sizes = np.array([len(ids) for ids in self._labels], "int32")
        mask = left_padding_mask(count + sizes - 1, count + longest - 1)
        logits = self._model(
            whole[:, :-1], padding_mask=mask, num_logits=longest, training=False
        )  # (labels, longest, vocab)
        targets = np.full((len(rows), longest), self._padding_id, "int32")
        is_label = np.zeros((len(rows), longest), "float32")
        for row, ids in enumerate(self._labels):
            targets[row, longest - len(ids) :] = ids
            is_label[row, longest - len(ids) :] = 1
        # In two dimensions, as LiteRT gathers.
        flat = tf.nn.log_softmax(tf.reshape(logits, [len(rows) * longest, -1]))
        own = tf.gather(flat, targets.reshape(-1, 1), batch_dims=1)  # (labels × longest, 1)
        log_probs = tf.reshape(own, [len(rows), longest]) * is_label
        scores = tf.reduce_sum(log_probs, axis=1) - tf.constant(self._task.bias, tf.float32)
        return tf.nn.softmax(scores)
