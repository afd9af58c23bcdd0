"""Tokenizer, decoding loop and detokenizer as one graph of strings."""

from typing import Any

import tensorflow as tf

from gpt2_keras.export.requests import check_fit, check_limits, check_texts
from gpt2_keras.generation import decoding_loop as loop
from gpt2_keras.generation import log_probs as scoring_graph
from gpt2_keras.generation.compiled import COUNTS, IDS, traced
from gpt2_keras.generation.finish_reason import FINISH_REASONS
from gpt2_keras.generation.logits_processors import no_rules
from gpt2_keras.generation.sampling import SamplingTensors
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.graph.tokenizer import GraphTokenizer

NUM_CANDIDATES = 10  # as many as the GPT-2 Explorer showed
Tensors = dict[str, tf.Tensor]


class TextModel:
    """A model that reads and writes strings, in graphs.

    Args:
        model: A model with a tokenizer.
        bad_text: What to do with a text that is empty, no UTF-8, or too long:
            `"refuse"` the request; or `"answer"` as well as one can: an empty
            text begins after the end token, bytes are taken as they are, and of
            what does not fit the context a part is answered.

    Raises:
        ValueError: If the model has no tokenizer, or `bad_text` is neither.
    """

    def __init__(self, model: GPT2Model, *, bad_text: str = "refuse") -> None:
        if bad_text not in ("refuse", "answer"):
            raise ValueError(
                f"`bad_text` must be 'refuse' or 'answer'. Received: bad_text={bad_text!r}."
            )
        host_tokenizer = model.require_tokenizer()
        self.tokenizer = GraphTokenizer.from_tokenizer(host_tokenizer)
        # Traced once for all that need them: they are most of the ops of a graph.
        self._tokenize = traced(self.tokenizer.tokenize, [tf.TensorSpec([None], tf.string)])
        self._detokenize = traced(self.tokenizer.detokenize, [IDS, COUNTS])
        self._end_token_id = host_tokenizer.end_token_id
        self._context_length = model.config.context_length
        self._vocab_size = model.config.vocab_size
        self._model, self._refuses = model, bad_text == "refuse"

    def generate(self, texts: Any, sampling: SamplingTensors, max_new_tokens: Any) -> Tensors:
        """Continues texts, as `GPT2LM.generate` does.

        Args:
            texts: String tensor `(batch,)`.
            sampling: Each row's settings.
            max_new_tokens: Int32 tensor `(batch,)`: largest number of tokens to
                add.

        Returns:
            `text`, string `(batch,)`: prompt and new text in valid UTF-8;
            `text_bytes`: the same as raw bytes; `token_ids`, int32 `(batch,
            steps)`: the new tokens; `num_tokens`, int32 `(batch,)`: how many of
            each row count; `finish_reason`, string `(batch,)`: `end` if it drew
            the end token, `length` if it has `max_new_tokens`, `context` if the
            context is full.

        Raises:
            InvalidArgumentError: When run, if a number is below 1 or, as
                `bad_text` says, a text is refused.
        """
        check_limits(max_new_tokens)
        prompt_ids = self._encode(texts)
        lengths = tf.maximum(_lengths(prompt_ids), 1)
        room = tf.maximum(self._context_length - lengths, 0)
        if self._refuses:
            check_fit(lengths, self._context_length - max_new_tokens, self._context_length)
        limits = tf.minimum(max_new_tokens, room)
        new_ids, counts = loop.decode(
            self._model,
            *self._align_right(prompt_ids),
            sampling,
            no_rules(self._vocab_size, self._end_token_id),
            limits=limits,
        )
        prompt = prompt_ids.to_tensor()  # (batch, time)
        prompt_text, _ = self._detokenize(prompt, _lengths(prompt_ids))
        new_text, new_bytes = self._detokenize(new_ids, counts)
        end, length, context, _ = FINISH_REASONS
        full = tf.where(limits < max_new_tokens, context, length)
        return {
            "text": tf.strings.join([prompt_text, new_text]),
            "text_bytes": tf.strings.join([texts, new_bytes]),
            "token_ids": new_ids,
            "num_tokens": counts,
            "finish_reason": tf.where(counts < limits, end, full),
        }

    def score(self, texts: Any) -> Tensors:
        """Computes the log-probability of every token, as `GPT2LM.score` does.

        Args:
            texts: String tensor `(batch,)`.

        Returns:
            `token_ids`, int32 `(batch, time)`; `log_probs`, float32 `(batch,
            time)`, in nats; `num_tokens`, int32 `(batch,)`: how many of each row
            count.
        """
        ids = self._encode(texts)
        if self._refuses:
            room = tf.fill(tf.shape(texts), self._context_length)
            check_fit(_lengths(ids), room, self._context_length)
        tokens = self._padded(ids[:, : self._context_length])
        log_probs = scoring_graph.log_probs(
            self._model, *tokens.values(), end_token_id=self._end_token_id
        )
        return tokens | {"log_probs": log_probs}

    def next_token(self, texts: Any) -> Tensors:
        """Finds the likeliest next tokens, as `GPT2LM.next_tokens` does.

        Args:
            texts: String tensor `(batch,)`.

        Returns:
            The ten likeliest, each `(batch, 10)`: `tokens`, string, in valid
            UTF-8; `token_bytes`, string; `ids`, int32; `probs`, float32.
        """
        prompt_ids = self._encode(texts)
        if self._refuses:
            room = tf.fill(tf.shape(texts), self._context_length)
            check_fit(_lengths(prompt_ids), room, self._context_length)
        ids, probs = scoring_graph.next_tokens(
            self._model,
            *self._align_right(prompt_ids),
            tf.constant(min(NUM_CANDIDATES, self._vocab_size)),
        )
        single = tf.reshape(ids, [-1, 1])
        shown = self._detokenize(single, tf.ones_like(single[:, 0]))
        tokens, token_bytes = (tf.reshape(strings, tf.shape(ids)) for strings in shown)
        return {"tokens": tokens, "token_bytes": token_bytes, "ids": ids, "probs": probs}

    def tokenize(self, texts: Any) -> Tensors:
        """Turns texts, or any other bytes, into `token_ids` and `num_tokens`."""
        return self._padded(self._tokenize(texts))

    def detokenize(self, token_ids: Any, num_tokens: Any) -> Tensors:
        """Turns the first `num_tokens` of each row into `text` and `text_bytes`."""
        text, text_bytes = self._detokenize(token_ids, num_tokens)
        return {"text": text, "text_bytes": text_bytes}

    def _encode(self, texts: Any) -> tf.RaggedTensor:
        if self._refuses:
            check_texts(texts)
        return self._tokenize(texts)

    def _padded(self, ids: tf.RaggedTensor) -> Tensors:
        """Returns rows as int32 `(batch, time)` and their lengths, int32 `(batch,)`."""
        padded = ids.to_tensor(self._end_token_id)
        return {"token_ids": padded, "num_tokens": _lengths(ids)}

    def _align_right(self, ids: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Puts each row at the right end; an empty one becomes the end token.

        Returns int32 `(batch, time)`, and each row's length, int32 `(batch,)`.
        Of a row longer than the context the end stays.
        """
        lengths = _lengths(ids)
        starts = tf.expand_dims(tf.cast(ids.row_starts(), tf.int32), 1)  # (batch, 1)
        time = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
        time = tf.minimum(time, self._context_length)
        places = tf.expand_dims(tf.range(time), 0) - tf.expand_dims(time - lengths, 1)
        # What is no token of the row reads the end token behind the last one.
        values = tf.concat([ids.values, [self._end_token_id]], axis=0)
        behind = tf.shape(ids.values)[0]
        token_ids = tf.gather(values, tf.where(places >= 0, starts + places, behind))
        return token_ids, tf.clip_by_value(lengths, 1, time)


def _lengths(ids: tf.RaggedTensor) -> tf.Tensor:
    """Returns the length of each row, int32 `(batch,)`."""
    return tf.cast(ids.row_lengths(), tf.int32)
