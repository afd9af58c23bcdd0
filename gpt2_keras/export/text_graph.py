"""Tokenizer, decoding loop and detokenizer as one graph of strings."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from gpt2_keras.export.requests import check_fit, check_max_new_tokens, check_texts
from gpt2_keras.generation import decoding_loop
from gpt2_keras.generation.defaults import export_processors
from gpt2_keras.generation.finish_reason import FINISH_REASONS
from gpt2_keras.generation.log_probs import most_likely_next_tokens, score_tokens
from gpt2_keras.generation.logits_processors import ProcessorTensors
from gpt2_keras.generation.sampler import SamplingTensors
from gpt2_keras.generation.specs import COUNTS, IDS
from gpt2_keras.generation.tensorflow_functions import traced
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.graph.tokenizer import GraphTokenizer
from gpt2_keras.validation import check_choice

NUM_CANDIDATES = 10  # as the GPT-2 Explorer showed
ON_INVALID_TEXT = ("error", "accept")
Tensors = dict[str, tf.Tensor]


class TextModel:
    """A language model from strings to strings, in graph ops.

    Args:
        model: A model with a tokenizer.
        on_invalid_text: What to do with a text that is empty, not UTF-8, or too long:
            `"error"` fails the request; `"accept"` answers it: an empty text begins
            after the end token, bytes that are not UTF-8 are tokenized as they are,
            of a prompt that is too long the end is read, and a text is continued as
            far as the context has room.

    Raises:
        TypeError, ValueError: If the model has no tokenizer, or `on_invalid_text` is
            neither.
    """

    def __init__(self, model: GPT2Model, *, on_invalid_text: str = "error") -> None:
        check_choice("on_invalid_text", on_invalid_text, ON_INVALID_TEXT)
        host_tokenizer = model.require_tokenizer()
        self.tokenizer = GraphTokenizer.from_tokenizer(host_tokenizer)
        # Traced once for all signatures: they are most of the ops of a graph.
        self._tokenize = traced(self.tokenizer.tokenize, [tf.TensorSpec([None], tf.string)])
        self._detokenize = traced(self.tokenizer.detokenize, [IDS, COUNTS])
        self._end_token_id = host_tokenizer.end_token_id
        self._context_length = model.config.context_length
        self._vocab_size = model.config.vocab_size
        self._model, self.checks_texts = model, on_invalid_text == "error"

    def generate(self, texts: Any, generate_tokens: Callable[..., Tensors]) -> Tensors:
        """Continues texts, as `GPT2LM.generate` does.

        Args:
            texts: String tensor `(batch,)`.
            generate_tokens: `self.generate_tokens` with the settings of the request.

        Returns:
            `text`, string `(batch,)`: prompt and new text in valid UTF-8;
            `text_bytes`: the same as raw bytes; and what `generate_tokens` returns.

        Raises:
            InvalidArgumentError: When run, if a number is below 1 or, unless
                `on_invalid_text` is `"accept"`, a text is invalid.
        """
        prompt_ids = self._encode(texts)
        found = generate_tokens(prompt_ids.to_tensor(self._end_token_id), _lengths(prompt_ids))
        prompt = prompt_ids.to_tensor()  # (batch, time)
        prompt_text, _ = self._detokenize(prompt, _lengths(prompt_ids))
        new_text, new_bytes = self._detokenize(found["token_ids"], found["num_tokens"])
        return {
            "text": tf.strings.join([prompt_text, new_text]),
            "text_bytes": tf.strings.join([texts, new_bytes]),
            **found,
        }

    def generate_tokens(
        self,
        token_ids: Any,
        num_tokens: Any,
        sampling: SamplingTensors,
        max_new_tokens: Any,
        processors: ProcessorTensors | None = None,
    ) -> Tensors:
        """Continues prompts of ids.

        Args:
            token_ids: Int32 tensor `(batch, time)`, padded on the right.
            num_tokens: Int32 tensor `(batch,)`: the length of each row without padding; a row
                of 0 begins after the end token.
            sampling: Each row's settings.
            max_new_tokens: Int32 tensor `(batch,)`: largest number of tokens to add.
            processors: By default those of the generation config.

        Returns:
            `token_ids`, int32 `(batch, steps)`: the new tokens, padded; `num_tokens`, int32
            `(batch,)`: the number of new tokens of each row; `finish_reason`, string `(batch,)`:
            `end` if an end token was sampled, `length` if it has `max_new_tokens`, `context` if
            the context is full.

        Raises:
            InvalidArgumentError: When run, if a number is below 1 or, unless
                `on_invalid_text` is `"accept"`, a prompt is too long.
        """
        check_max_new_tokens(max_new_tokens)
        prompt_ids = tf.RaggedTensor.from_tensor(token_ids, lengths=num_tokens)
        lengths = tf.maximum(_lengths(prompt_ids), 1)
        room = tf.maximum(self._context_length - lengths, 0)
        if self.checks_texts:
            check_fit(lengths, self._context_length - max_new_tokens, self._context_length)
        limits = tf.minimum(max_new_tokens, room)
        new_ids, counts = decoding_loop.decode(
            self._model,
            *self._align_right(prompt_ids),
            sampling,
            export_processors(self._model) if processors is None else processors,
            limits=limits,
        )
        end, length, context, _ = FINISH_REASONS
        full = tf.where(limits < max_new_tokens, context, length)
        return {
            "token_ids": new_ids,
            "num_tokens": counts,
            "finish_reason": tf.where(counts < limits, end, full),
        }

    def score(self, texts: Any, score_tokens: Callable[..., Tensors]) -> Tensors:
        """Computes the log-probability of every token, as `GPT2LM.score` does.

        Args:
            texts: String tensor `(batch,)`.
            score_tokens: `self.score_tokens`.

        Returns:
            `token_ids`, int32 `(batch, time)`; `log_probs`, float32 `(batch,
            time)`, in nats; `num_tokens`, int32 `(batch,)`: the length of each row
            without padding.
        """
        ids = self._encode(texts)
        if self.checks_texts:
            room = tf.fill(tf.shape(texts), self._context_length)
            check_fit(_lengths(ids), room, self._context_length)
        tokens = self._padded(ids[:, : self._context_length])
        ends = tf.fill([tf.shape(texts)[0], 1], self._end_token_id)
        read = tf.concat([ends, tokens["token_ids"]], axis=1)
        scored = score_tokens(read, tokens["num_tokens"] + 1)
        return tokens | {"log_probs": scored["log_probs"]}

    def score_tokens(self, token_ids: Any, num_tokens: Any) -> Tensors:
        """Computes the log-probability and rank of every token but the first.

        Args:
            token_ids: Int32 tensor `(batch, time)`, padded on the right; `time` is at most
                `context_length + 1`.
            num_tokens: Int32 tensor `(batch,)`: the length of each row without padding.

        Returns:
            `log_probs`, float32 `(batch, time - 1)`, in nats; `ranks`, int32 `(batch, time - 1)`:
            how many tokens are more likely. Both are 0 for padding.
        """
        log_probs, ranks = score_tokens(
            self._model, token_ids, num_tokens, padding_id=self._end_token_id
        )
        return {"log_probs": log_probs, "ranks": ranks}

    def next_token(self, texts: Any) -> Tensors:
        """Finds the most likely next tokens, as `GPT2LM.next_tokens` does.

        Args:
            texts: String tensor `(batch,)`.

        Returns:
            The ten most likely, each `(batch, 10)`: `tokens`, string, in valid
            UTF-8; `token_bytes`, string; `ids`, int32; `probs`, float32.
        """
        prompt_ids = self._encode(texts)
        if self.checks_texts:
            room = tf.fill(tf.shape(texts), self._context_length)
            check_fit(_lengths(prompt_ids), room, self._context_length)
        ids, probs = most_likely_next_tokens(
            self._model,
            *self._align_right(prompt_ids),
            tf.constant(min(NUM_CANDIDATES, self._vocab_size)),
        )
        single = tf.reshape(ids, [-1, 1])
        shown = self._detokenize(single, tf.ones_like(single[:, 0]))
        tokens, token_bytes = (tf.reshape(strings, tf.shape(ids)) for strings in shown)
        return {"tokens": tokens, "token_bytes": token_bytes, "ids": ids, "probs": probs}

    def text_of(self, token_ids: Any, num_tokens: Any) -> tf.Tensor:
        """Returns the texts of ids in valid UTF-8, string `(batch,)`."""
        return self._detokenize(token_ids, num_tokens)[0]

    def tokenize(self, texts: Any) -> Tensors:
        """Encodes texts, or any other bytes, as `token_ids` and `num_tokens`."""
        return self._padded(self._tokenize(texts))

    def detokenize(self, token_ids: Any, num_tokens: Any) -> Tensors:
        """Decodes the first `num_tokens` of each row to `text` and `text_bytes`."""
        text, text_bytes = self._detokenize(token_ids, num_tokens)
        return {"text": text, "text_bytes": text_bytes}

    def _encode(self, texts: Any) -> tf.RaggedTensor:
        if self.checks_texts:
            check_texts(texts)
        return self._tokenize(texts)

    def _padded(self, ids: tf.RaggedTensor) -> Tensors:
        """Returns rows as int32 `(batch, time)` and their lengths, int32 `(batch,)`."""
        padded = ids.to_tensor(self._end_token_id)
        return {"token_ids": padded, "num_tokens": _lengths(ids)}

    def _align_right(self, ids: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Pads each row on the left; an empty one becomes the end token.

        Returns int32 `(batch, time)`, and each row's length, int32 `(batch,)`.
        A row longer than the context keeps its end.
        """
        lengths = _lengths(ids)
        starts = tf.expand_dims(tf.cast(ids.row_starts(), tf.int32), 1)  # (batch, 1)
        time = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
        time = tf.minimum(time, self._context_length)
        index = tf.expand_dims(tf.range(time), 0) - tf.expand_dims(time - lengths, 1)
        # Padding gathers the end token, which is put after the last value.
        values = tf.concat([ids.values, [self._end_token_id]], axis=0)
        padding = tf.shape(ids.values)[0]
        token_ids = tf.gather(values, tf.where(index >= 0, starts + index, padding))
        return token_ids, tf.clip_by_value(lengths, 1, time)


def _lengths(ids: tf.RaggedTensor) -> tf.Tensor:
    """Returns the length of each row, int32 `(batch,)`."""
    return tf.cast(ids.row_lengths(), tf.int32)
