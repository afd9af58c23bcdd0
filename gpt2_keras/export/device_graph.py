"""The whole job for one text, as LiteRT can run it: bytes in, bytes out, static shapes."""

from typing import Any

import tensorflow as tf

from gpt2_keras.export.device_decoder import DeviceDecoder
from gpt2_keras.export.text_graph import NUM_CANDIDATES, Tensors
from gpt2_keras.generation.finish_reason import FINISH_REASONS
from gpt2_keras.generation.sampling import greedy_numbers
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.graph.litert import LiteRTTokenizer
from gpt2_keras.tokenizer.graph.tokenizer import GraphTokenizer


class DeviceModel:
    """A model of one text at a time, with its cache inside.

    Args:
        model: A model with a tokenizer.
        context_length: How many tokens prompt and new text may have in all; at
            most the model's. Memory and time of a token grow with it.
    """

    def __init__(self, model: GPT2Model, context_length: int) -> None:
        tokenizer = model.require_tokenizer()
        self.tokenizer = LiteRTTokenizer(GraphTokenizer.from_tokenizer(tokenizer))
        self.decoder = DeviceDecoder(model, context_length, tokenizer.end_token_id)
        self._end_token_id = tokenizer.end_token_id
        self._num_candidates = min(NUM_CANDIDATES, model.config.vocab_size)

    def generate(
        self, text: Any, max_new_tokens: Any, temperature: Any, top_k: Any, seed: Any
    ) -> Tensors:
        """Continues a text, as `GPT2LM.generate` does.

        Args:
            text: uint8 tensor `(size,)`, UTF-8. An empty one begins a text.
            max_new_tokens: int32 `(1,)`. Fewer are drawn if the context is full.
            temperature: float32 `(1,)`; 0 takes the likeliest token.
            top_k: int32 `(1,)`; 0 keeps all tokens.
            seed: int32 `(1,)`.

        Returns:
            `text`, uint8 `(bytes,)`: prompt and new text in valid UTF-8;
            `text_bytes`: the same as raw bytes; `token_ids`, int32 `(tokens,)`:
            the new tokens; `num_tokens`, int32 `()`; `finish_reason`, int32 `()`:
            index into `FINISH_REASONS`.
        """
        prompt_ids = self.tokenizer.tokenize(text)["token_ids"]
        ids = self._fitting(prompt_ids)
        numbers = {"temperature": temperature, "top_k": top_k, "seed": seed}
        limits = tf.minimum(max_new_tokens, self.decoder.context_length - tf.size(ids))
        new_ids = self.decoder.draw(ids, greedy_numbers()._replace(**numbers), limits)
        old, new = self.tokenizer.detokenize(prompt_ids), self.tokenizer.detokenize(new_ids)
        # From values and not from the shape, which a runtime may not know yet.
        num_tokens = tf.reduce_sum(tf.cast(new_ids >= 0, tf.int32))
        end, length, context, _ = range(len(FINISH_REASONS))
        full = tf.where(limits[0] < max_new_tokens[0], context, length)
        return {
            "text": tf.concat([old["text"], new["text"]], axis=0),
            "text_bytes": tf.concat([text, new["text_bytes"]], axis=0),
            "token_ids": new_ids,
            "num_tokens": num_tokens,
            "finish_reason": tf.where(num_tokens < limits[0], end, full),
        }

    def next_token(self, text: Any) -> Tensors:
        """Finds the ten likeliest next tokens.

        Args:
            text: uint8 tensor `(size,)`, UTF-8.

        Returns:
            `ids`, int32 `(10,)`, the likeliest first; `probs`, float32 `(10,)`.
        """
        ids = self._fitting(self.tokenizer.tokenize(text)["token_ids"])
        logits = self.decoder.read(ids)
        probs, ids = tf.math.top_k(tf.nn.softmax(logits[0]), self._num_candidates)
        return {"ids": ids, "probs": probs}

    def prefill(self, token_ids: Any) -> Tensors:
        """Reads a prompt into the cache that `decode` goes on with.

        Args:
            token_ids: int32 tensor `(tokens,)`, at least one and fewer than the
                context has.

        Returns:
            `logits` of the next token, float32 `(1, vocab)`.
        """
        logits = self.decoder.read(token_ids)
        self.decoder.keep(tf.size(token_ids) - 1)
        return {"logits": logits}

    def decode(self, token_id: Any, position: Any) -> Tensors:
        """Takes one more token.

        Args:
            token_id: int32 tensor `(1,)`: the token.
            position: int32 tensor `(1,)`: its position; the prompt's length for
                the first after `prefill`.

        Returns:
            `logits` of the next token, float32 `(1, vocab)`.
        """
        return {"logits": self.decoder.step(token_id, position)}

    def _fitting(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the end of a prompt, with room for a token; of an empty one the end token."""
        empty = tf.cast(tf.equal(tf.size(ids), 0), tf.int32)
        ids = tf.concat([tf.fill([empty], self._end_token_id), ids], axis=0)
        return ids[-(self.decoder.context_length - 1) :]
