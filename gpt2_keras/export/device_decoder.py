"""The model with its cache, arranged so that LiteRT copies little of it from token to token.

LiteRT copies what a turn of a loop changes, and what it reads from a variable; what a loop
carries unchanged it does not copy. So tokens are drawn in two loops: the inner one changes
a block of a few positions and carries the past as it is, the outer one moves a full block
to the past. What reads prompts, what draws tokens and what takes a single one are each in
the file once, whichever signatures run them.
"""

from typing import Any

import tensorflow as tf

from gpt2_keras.generation import loop
from gpt2_keras.generation.constraints import NO_TOKEN, History, no_rules
from gpt2_keras.generation.sampling import SamplingTensors, greedy_numbers
from gpt2_keras.layers.cache import BlockCache, cache_slots, write_cache
from gpt2_keras.model import GPT2LM

# Positions read at a time, and of a block. A fixed number lets XNNPACK take the products;
# more than these gain little, as a chunk that is not full costs as much as one that is.
CHUNK_LENGTH = 32


def chunk_length_of(context_length: int) -> int:
    """Returns how many positions are read at a time: the largest divisor up to `CHUNK_LENGTH`.

    A divisor, so that the last chunk of a full context ends where the context does.

    Example:
        >>> chunk_length_of(1024), chunk_length_of(48), chunk_length_of(37)
        (32, 24, 1)
    """
    return max(size for size in range(1, CHUNK_LENGTH + 1) if context_length % size == 0)


class DeviceDecoder(tf.Module):
    """Reads prompts and draws tokens, for one text at a time.

    Args:
        model: The model.
        context_length: How many positions the cache has.
        end_token_id: The id that ends a text.
    """

    def __init__(self, model: GPT2LM, context_length: int, end_token_id: int) -> None:
        super().__init__()
        self.context_length = context_length
        self.block_length = chunk_length_of(context_length)
        self._model = model
        self._end_token_id = end_token_id
        self._past = self._variables(context_length)
        self._block = self._variables(self.block_length)
        self._block_start = tf.Variable(0)

    def _variables(self, length: int) -> list[tuple[tf.Variable, tf.Variable]]:
        """Returns keys and values of each layer, (1, heads, length, head_dim)."""
        config = self._model.config
        empty = tf.zeros([1, config.num_heads, length, config.head_dim])
        return [(tf.Variable(empty), tf.Variable(empty)) for _ in range(config.num_layers)]

    def read(self, token_ids: tf.Tensor) -> tuple[tf.Tensor, list[BlockCache]]:
        """Reads a prompt, (tokens,), from the beginning.

        Returns:
            The logits of the next token, float32 `(1, vocab)`, and the cache.
        """
        last = tf.size(token_ids) - 1
        layers = self._read_all_but_last(token_ids)
        return self._turn(tf.reshape(token_ids[-1:], [1]), tf.reshape(last, [1]), layers)

    def keep(self, layers: list[BlockCache], position: tf.Tensor) -> None:
        """Makes a cache, which holds this position, the one that `step` goes on with."""
        for (keys, values), layer in zip(self._block, layers, strict=True):
            keys.assign(layer.keys)
            values.assign(layer.values)
        self._block_start.assign(self._start_of_block(position))

    def step(self, token_id: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """Takes one more token, (1,), at a position, (1,).

        Returns:
            The logits of the next, float32 `(1, vocab)`.
        """
        self._change_block(self._start_of_block(position[0]))
        layers = [
            BlockCache(*(variable.read_value() for pair in pairs for variable in pair))
            for pairs in zip(self._past, self._block, strict=True)
        ]
        # Not by a loop, which would copy the past on entering it.
        logits, layers = self._model(
            tf.expand_dims(token_id, 0),
            cache=layers,
            cache_index=position[0],
            num_logits=1,
            training=False,
        )
        self.keep(layers, position[0])
        return logits[:, 0]

    def draw(self, token_ids: tf.Tensor, sampling: SamplingTensors, limits: tf.Tensor) -> tf.Tensor:
        """Continues a prompt, (tokens,), by up to as many tokens as `limits`, (1,), says.

        Returns:
            The new tokens, int32 `(new tokens,)`, without the one that ends the text.
        """
        last = tf.size(token_ids) - 1
        layers = self._read_all_but_last(token_ids)
        state = self._state(tf.reshape(token_ids[-1:], [1]), last, layers, limits < 1)

        def fill_block(state: loop.DecodingState) -> tuple[loop.DecodingState]:
            start = self._start_of_block(state.cache_index)
            room = start + self.block_length - state.cache_index
            state = self._turns(state, sampling, limits, room)
            logits, layers = state.cache
            written = [self._with_block(layer, start) for layer in layers]
            # Nobody asks for the log-probability, here or in `_turn`.
            return (state._replace(cache=(logits, written), last_log_probs=tf.zeros([1])),)

        (state,) = tf.while_loop(lambda state: ~tf.reduce_all(state.finished), fill_block, (state,))
        new_ids = state.history.token_ids[0, last + 1 : state.history.next_new]
        ended = tf.cast(tf.equal(new_ids, self._end_token_id), tf.int32)
        return new_ids[: tf.size(new_ids) - tf.reduce_sum(ended)]

    def _read_all_but_last(self, token_ids: tf.Tensor) -> list[BlockCache]:
        """Reads all ids but the last, in chunks; returns the cache, its block that of the last."""
        last, size = tf.size(token_ids) - 1, self.block_length
        # What the last chunk reads past the end is written over by the tokens to come.
        padded = tf.concat([token_ids, tf.zeros([size], tf.int32)], axis=0)
        empty = tf.zeros([1, self._model.config.num_heads, size, self._model.config.head_dim])

        def body(start: tf.Tensor) -> tuple[tf.Tensor]:
            chunk = tf.expand_dims(tf.slice(padded, [start], [size]), 0)
            layers = [
                BlockCache(k.read_value(), v.read_value(), empty, empty) for k, v in self._past
            ]
            _, layers = self._model(
                chunk, cache=layers, cache_index=start, num_logits=0, training=False
            )
            for (keys, values), layer in zip(self._past, layers, strict=True):
                written = self._with_block(layer, start)
                keys.assign(written.past_keys)
                values.assign(written.past_values)
            return (start + size,)

        tf.while_loop(lambda start: start < last, body, (tf.constant(0),))
        start = self._start_of_block(last)
        past = [(keys.read_value(), values.read_value()) for keys, values in self._past]
        return [BlockCache(*pair, *(self._block_of(part, start) for part in pair)) for pair in past]

    def _turns(
        self, state: loop.DecodingState, sampling: SamplingTensors, limits: Any, max_steps: Any
    ) -> loop.DecodingState:
        """Draws tokens within one block, by the loop that `generate` and SavedModel share."""

        def run(token_ids: Any, *, cache: Any, cache_index: Any, **_: Any) -> Any:
            logits, layers = self._model(
                token_ids, cache=cache[1], cache_index=cache_index, num_logits=1, training=False
            )
            return logits, (logits, layers)

        rules = no_rules(self._model.config.vocab_size, self._end_token_id)
        numbers = {"max_steps": max_steps, "most_steps": self.block_length, "limits": limits}
        return loop.advance(run, state, sampling, rules, **numbers)[2]

    def _turn(
        self, token_id: tf.Tensor, position: tf.Tensor, layers: list[BlockCache]
    ) -> tuple[tf.Tensor, list[BlockCache]]:
        """Takes one token, (1,); returns logits, (1, vocab), and cache."""
        # Numbers that nobody can know before, as in `draw`: so its loop and this are the same.
        nought, seed = tf.minimum(position, 0), tf.minimum(position, 1)
        numbers = {"temperature": tf.cast(nought, tf.float32), "top_k": nought, "seed": seed}
        sampling = greedy_numbers()._replace(**numbers)
        state = self._state(token_id, position[0], layers, nought > 0)
        state = self._turns(state, sampling, nought + 2, nought[0] + 1)
        logits, layers = state.cache
        return logits[:, 0], layers

    def _state(
        self, token_id: Any, position: Any, layers: list[BlockCache], finished: Any
    ) -> loop.DecodingState:
        """Returns a generation that takes a token, (1,), at a position next."""
        length, vocab_size = self.context_length, self._model.config.vocab_size
        return loop.DecodingState(
            (tf.zeros([1, 1, vocab_size]), layers),
            tf.ones([1, length], tf.bool),
            position,
            History(tf.fill([1, length + 1], NO_TOKEN), position + 1, position + 1),
            token_id,
            tf.zeros([1]),
            finished,
        )

    def _start_of_block(self, position: tf.Tensor) -> tf.Tensor:
        return position - position % self.block_length

    def _block_of(self, past: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        """Cuts a block out of keys or values, (1, heads, block_length, head_dim)."""
        heads, _, head_dim = past.shape[1:]
        return tf.slice(past, [0, 0, start, 0], [1, heads, self.block_length, head_dim])

    def _with_block(self, layer: BlockCache, start: tf.Tensor) -> BlockCache:
        """Writes the block to the past."""
        slots = cache_slots(layer.past_keys, self.block_length, start)
        return layer._replace(
            past_keys=write_cache(layer.past_keys, layer.keys, slots),
            past_values=write_cache(layer.past_values, layer.values, slots),
        )

    def _change_block(self, start: tf.Tensor) -> None:
        """Moves the kept block to the past and takes another out of it, if it is another."""

        def body(_: tf.Tensor, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            kept = self._block_start.read_value()
            for pairs in zip(self._past, self._block, strict=True):
                layer = BlockCache(*(variable.read_value() for pair in pairs for variable in pair))
                layer = self._with_block(layer, kept)
                for past, block, written in zip(*pairs, layer[:2], strict=True):
                    past.assign(written)
                    block.assign(self._block_of(written, start))
            self._block_start.assign(start)
            return start, start

        before = self._block_start.read_value()
        # A loop of one turn at most: LiteRT's variables are named inside loops alone.
        tf.while_loop(lambda kept, start: ~tf.equal(kept, start), body, (before, start))
