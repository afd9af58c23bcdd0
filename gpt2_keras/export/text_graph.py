"""Tokenizer, decoding loop and detokenizer as one graph of strings."""

from typing import Any

import tensorflow as tf

from gpt2_keras.generation import loop
from gpt2_keras.generation.constraints import Constraints, make_constraints
from gpt2_keras.generation.sampling import SamplingTensors
from gpt2_keras.model import GPT2LM
from gpt2_keras.tokenizer.graph import GraphTokenizer


class TextModel:
    """A model that reads and writes strings, in graphs.

    Args:
        model: A model with a tokenizer.

    Raises:
        ValueError: If the model has no tokenizer.
    """

    def __init__(self, model: GPT2LM) -> None:
        host_tokenizer = model.require_tokenizer()
        self.end_token_id = host_tokenizer.end_token_id
        self.context_length = model.config.context_length
        self.tokenizer = GraphTokenizer.from_tokenizer(host_tokenizer)
        self._model = model

    def generate(
        self, texts: Any, sampling: SamplingTensors, max_new_tokens: int
    ) -> dict[str, tf.Tensor]:
        """Continues texts, as `GPT2LM.generate` does.

        Args:
            texts: String tensor `(batch,)`. An empty text asks for one from its
                start.
            sampling: Each row's settings.
            max_new_tokens: Largest number of tokens to add.

        Returns:
            `text`, string `(batch,)`: prompt and new text in valid UTF-8;
            `text_bytes`: the same as raw bytes; `token_ids`, int32 `(batch,
            steps)`: the new tokens; `num_tokens`, int32 `(batch,)`: how many of
            each row count.

        Raises:
            InvalidArgumentError: When run, if a text and its new tokens do not
                fit the context.
        """
        prompt_ids = self.tokenizer.tokenize(texts)
        self._check_lengths(prompt_ids, max_new_tokens)
        token_ids, num_tokens = self._align_right(prompt_ids)
        rules = make_constraints(self._model.config.vocab_size, self.end_token_id)
        new_ids, counts = loop.decode(
            self._model,
            token_ids,
            num_tokens,
            sampling,
            Constraints(*map(tf.constant, rules)),
            max_new_tokens=max_new_tokens,
        )
        prompt = prompt_ids.to_tensor()  # (batch, time)
        prompt_text, _ = self.tokenizer.detokenize(prompt, prompt_ids.row_lengths())
        new_text, new_bytes = self.tokenizer.detokenize(new_ids, counts)
        return {
            "text": tf.strings.join([prompt_text, new_text]),
            "text_bytes": tf.strings.join([texts, new_bytes]),
            "token_ids": new_ids,
            "num_tokens": counts,
        }

    def _check_lengths(self, prompt_ids: tf.RaggedTensor, max_new_tokens: int) -> None:
        """Makes the graph refuse what does not fit the context."""
        room = self.context_length - max_new_tokens
        longest = tf.reduce_max(tf.concat([prompt_ids.row_lengths(), [0]], axis=0))
        tf.debugging.assert_less_equal(
            longest,
            tf.cast(room, longest.dtype),
            "A text and its new tokens must fit into the context. "
            f"Here a text may have {room} tokens: {max_new_tokens} of {self.context_length} are "
            "for the new ones. Shorten the text.",
        )

    def _align_right(self, ids: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Puts each row at the right end; an empty one becomes the end token.

        Returns int32 `(batch, time)`, and each row's length, int32 `(batch,)`.
        """
        lengths = tf.cast(ids.row_lengths(), tf.int32)
        starts = tf.expand_dims(tf.cast(ids.row_starts(), tf.int32), 1)  # (batch, 1)
        time = tf.maximum(tf.reduce_max(tf.concat([lengths, [1]], axis=0)), 1)
        places = tf.expand_dims(tf.range(time), 0) - tf.expand_dims(time - lengths, 1)
        # What is no token of the row reads the end token behind the last one.
        values = tf.concat([ids.values, [self.end_token_id]], axis=0)
        behind = tf.shape(ids.values)[0]
        token_ids = tf.gather(values, tf.where(places >= 0, starts + places, behind))
        return token_ids, tf.maximum(lengths, 1)
