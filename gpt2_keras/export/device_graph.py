"""Tokenizer, model, decoding loop and detokenizer for one text: bytes in, bytes out."""

from typing import Any

import tensorflow as tf

from gpt2_keras.export.device_decoder import DeviceDecoder
from gpt2_keras.export.text_graph import NUM_CANDIDATES, Tensors
from gpt2_keras.generation.defaults import export_numbers
from gpt2_keras.generation.finish_reason import FINISH_REASONS
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.graph.litert import LiteRTTokenizer
from gpt2_keras.tokenizer.graph.tokenizer import GraphTokenizer


class DeviceModel:
    """The signatures of a `.tflite` file, each for one text at a time.

    Args:
        model: A model with a tokenizer.
        context_length: Largest number of tokens of prompt and new text; at most the
            model's. Memory and time per token grow with it.
    """

    def __init__(self, model: GPT2Model, context_length: int) -> None:
        tokenizer = model.require_tokenizer()
        self.tokenizer = LiteRTTokenizer(GraphTokenizer.from_tokenizer(tokenizer))
        self.decoder = DeviceDecoder(model, context_length)
        self._end_token_id = tokenizer.end_token_id
        self._numbers = export_numbers(model)
        self._num_candidates = min(NUM_CANDIDATES, model.config.vocab_size)

    def generate(
        self, text: Any, max_new_tokens: Any, temperature: Any, top_k: Any, seed: Any
    ) -> Tensors:
        """Continues a text, as `GPT2LM.generate` does.

        Args:
            text: uint8 tensor `(size,)`, UTF-8. An empty one is read as the end token.
            max_new_tokens: int32 `(1,)`. Fewer are sampled if the context is full.
            temperature: float32 `(1,)`; 0 is greedy.
            top_k: int32 `(1,)`; 0 keeps all tokens.
            seed: int32 `(1,)`.

        Returns:
            `text`, uint8 `(bytes,)`: prompt and new text in valid UTF-8;
            `text_bytes`: the same as raw bytes; `token_ids`, int32 `(tokens,)`:
            the new tokens; `num_tokens`, int32 `()`; `finish_reason`, int32 `()`:
            index into `FINISH_REASONS`.
        """
        prompt_ids = self.tokenizer.tokenize(text)["token_ids"]
        ids = self._with_room(prompt_ids)
        numbers = {"temperature": temperature, "top_k": top_k, "seed": seed}
        limits = tf.minimum(max_new_tokens, self.decoder.context_length - tf.size(ids))
        new_ids = self.decoder.generate(ids, self._numbers._replace(**numbers), limits)
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
        """Finds the ten most likely next tokens.

        Args:
            text: uint8 tensor `(size,)`, UTF-8.

        Returns:
            `ids`, int32 `(10,)`, the most likely first; `probs`, float32 `(10,)`.
        """
        ids = self._with_room(self.tokenizer.tokenize(text)["token_ids"])
        logits = self.decoder.prefill(ids)
        probs, ids = tf.math.top_k(tf.nn.softmax(logits[0]), self._num_candidates)
        return {"ids": ids, "probs": probs}

    def prefill(self, token_ids: Any) -> Tensors:
        """Reads a prompt into the cache that `decode` continues.

        Args:
            token_ids: int32 tensor `(tokens,)`, at least one and fewer than
                `context_length`.

        Returns:
            `logits` of the next token, float32 `(1, vocab)`.
        """
        logits = self.decoder.prefill(token_ids)
        self.decoder.load_block(tf.size(token_ids) - 1)
        return {"logits": logits}

    def decode(self, token_id: Any, position: Any) -> Tensors:
        """Reads one more token.

        Args:
            token_id: int32 tensor `(1,)`: the token.
            position: int32 tensor `(1,)`: its position; that of the first token
                after `prefill` is the prompt's length.

        Returns:
            `logits` of the next token, float32 `(1, vocab)`.
        """
        return {"logits": self.decoder.decode(token_id, position)}

    def _with_room(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the end of a prompt, with room for a token; the end token for an empty one."""
        empty = tf.cast(tf.equal(tf.size(ids), 0), tf.int32)
        ids = tf.concat([tf.fill([empty], self._end_token_id), ids], axis=0)
        return ids[-(self.decoder.context_length - 1) :]
