"""The whole job for one text, as LiteRT can run it: bytes in, bytes out, static shapes."""

from typing import Any

import tensorflow as tf

from gpt2_keras.export.text_graph import FINISH_REASONS, NUM_CANDIDATES, Tensors
from gpt2_keras.generation import loop
from gpt2_keras.generation.constraints import NO_TOKEN, History, no_rules
from gpt2_keras.generation.sampling import SamplingTensors, greedy_numbers
from gpt2_keras.model import GPT2LM
from gpt2_keras.tokenizer.graph import GraphTokenizer
from gpt2_keras.tokenizer.litert import LiteRTTokenizer

# Positions read at a time. A fixed number lets XNNPACK take the products; more than these
# gain little, as a chunk that is not full costs as much as one that is.
CHUNK_LENGTH = 32


def chunk_length_of(context_length: int) -> int:
    """Returns how many positions are read at a time: the largest divisor up to `CHUNK_LENGTH`.

    A divisor, so that the last chunk of a full context ends where the context does.

    Example:
        >>> chunk_length_of(1024), chunk_length_of(48), chunk_length_of(37)
        (32, 24, 1)
    """
    return max(size for size in range(1, CHUNK_LENGTH + 1) if context_length % size == 0)


class DeviceModel:
    """A model of one text at a time, with its cache inside.

    Args:
        model: A model with a tokenizer.
        context_length: How many tokens prompt and new text may have in all; at
            most the model's. Memory and time of a token grow with it.
    """

    def __init__(self, model: GPT2LM, context_length: int) -> None:
        tokenizer = model.require_tokenizer()
        self.tokenizer = LiteRTTokenizer(GraphTokenizer.from_tokenizer(tokenizer))
        self.context_length = context_length
        self.chunk_length = chunk_length_of(context_length)
        self._end_token_id = tokenizer.end_token_id
        self._model = model
        shape = (1, model.config.num_heads, context_length, model.config.head_dim)
        self._cache_shape = shape
        self.cache = [
            (tf.Variable(tf.zeros(shape)), tf.Variable(tf.zeros(shape)))
            for _ in range(model.config.num_layers)
        ]

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
        count = tf.size(ids)
        numbers = {"temperature": temperature, "top_k": top_k, "seed": seed}
        limits = tf.minimum(max_new_tokens, self.context_length - count)
        _, cache = self._read(ids, count - 1)
        new_ids = self._continue(ids, cache, greedy_numbers()._replace(**numbers), limits)
        old, new = self.tokenizer.detokenize(prompt_ids), self.tokenizer.detokenize(new_ids)
        # From values and not from the shape, which a runtime may not know yet.
        num_tokens = tf.reduce_sum(tf.cast(new_ids >= 0, tf.int32))
        end, length, context = range(len(FINISH_REASONS))
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
        logits, _ = self._read(ids, tf.size(ids))
        candidates = min(NUM_CANDIDATES, self._model.config.vocab_size)
        probs, ids = tf.math.top_k(tf.nn.softmax(logits[0]), candidates)
        return {"ids": ids, "probs": probs}

    def prefill(self, token_ids: Any) -> Tensors:
        """Reads a prompt into the cache that `decode` goes on with.

        Args:
            token_ids: int32 tensor `(tokens,)`, at least one and fewer than the
                context has.

        Returns:
            `logits` of the next token, float32 `(1, vocab)`.
        """
        logits, cache = self._read(token_ids, tf.size(token_ids))
        self._keep(cache)
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
        cache = [(keys.read_value(), values.read_value()) for keys, values in self.cache]
        logits, cache = self._model(
            tf.expand_dims(token_id, 0),
            cache=cache,
            cache_index=position[0],
            num_logits=1,
            training=False,
        )
        self._keep(cache)
        return {"logits": logits[:, 0]}

    def _keep(self, cache: Any) -> None:
        for variables, tensors in zip(self.cache, cache, strict=True):
            for variable, tensor in zip(variables, tensors, strict=True):
                variable.assign(tensor)

    def _fitting(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the end of a prompt, with room for a token; of an empty one the end token."""
        empty = tf.cast(tf.equal(tf.size(ids), 0), tf.int32)
        ids = tf.concat([tf.fill([empty], self._end_token_id), ids], axis=0)
        return ids[-(self.context_length - 1) :]

    def _read(self, ids: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """Reads the first `count` ids in chunks of a fixed length.

        Returns the logits of the next token, float32 (1, vocab), and the cache.
        """
        # What the last chunk reads past the end is written over by the tokens to come.
        padded = tf.concat([ids, tf.zeros([self.chunk_length], tf.int32)], axis=0)

        def body(start: tf.Tensor, _: Any, cache: Any) -> Any:
            chunk = tf.expand_dims(tf.slice(padded, [start], [self.chunk_length]), 0)
            last = tf.minimum(count - start, self.chunk_length) - 1
            logits, cache = self._model(
                chunk, cache=cache, cache_index=start, logits_index=last, training=False
            )
            return start + self.chunk_length, logits[:, 0], cache

        logits = tf.zeros([1, self._model.config.vocab_size])
        cache = [(tf.zeros(self._cache_shape), tf.zeros(self._cache_shape)) for _ in self.cache]
        _, logits, cache = tf.while_loop(
            lambda start, *_: start < count, body, (tf.constant(0), logits, cache)
        )
        return logits, cache

    def _continue(
        self, ids: tf.Tensor, cache: Any, sampling: SamplingTensors, limits: tf.Tensor
    ) -> tf.Tensor:
        """Returns the new tokens, (tokens,), of the loop that `generate` and SavedModel share."""
        length, count = self.context_length, tf.size(ids)
        state = loop.DecodingState(
            cache,
            tf.ones([1, length], tf.bool),
            count - 1,
            History(tf.fill([1, length + 1], NO_TOKEN), count, count),
            tf.reshape(ids[-1:], [1]),
            tf.zeros([1]),
            limits < 1,
        )
        new_ids, _, _ = loop.advance(
            self._model,
            state,
            sampling,
            no_rules(self._model.config.vocab_size, self._end_token_id),
            max_steps=length,
            limits=limits,
        )
        ended = tf.equal(new_ids[0], self._end_token_id)
        return new_ids[0, : tf.reduce_sum(tf.cast(~ended, tf.int32))]
