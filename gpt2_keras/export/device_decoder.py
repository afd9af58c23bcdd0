"""The model with its cache, arranged so that LiteRT copies little of the cache per token.

In each iteration of a loop LiteRT copies the loop variables that the body changes, and the
variables that it reads; loop variables that stay the same are not copied. So tokens are
generated in two nested loops: the inner one changes a block of a few positions and carries
the rest of the cache, the past, unchanged; the outer one writes a full block to the past.
Prefill, the loop of new tokens and the decoding of a single token are each in the file
once, whichever signatures run them.
"""

import tensorflow as tf

from gpt2_keras.generation import decoding_loop
from gpt2_keras.generation.defaults import export_processors
from gpt2_keras.generation.logits_processors import NO_TOKEN, History, ProcessorTensors
from gpt2_keras.generation.padding import is_any
from gpt2_keras.generation.sampler import SamplingTensors
from gpt2_keras.layers.kernels.litert import LITERT, BlockCache
from gpt2_keras.model import GPT2Model

# Positions of a prefill chunk, and of a block. XNNPACK computes products of a fixed size alone;
# a larger one gains little, as a partial chunk costs as much as a full one.
CHUNK_LENGTH = 32


def chunk_length(context_length: int) -> int:
    """Returns the number of positions of a chunk: the largest divisor up to `CHUNK_LENGTH`.

    A divisor, so that the last chunk of a full context ends where the context does.

    Example:
        >>> chunk_length(1024), chunk_length(48), chunk_length(37)
        (32, 24, 1)
    """
    return max(size for size in range(1, CHUNK_LENGTH + 1) if context_length % size == 0)


class DeviceDecoder(tf.Module):
    """Prefill, decoding and generation with a cache in variables, for one text at a time.

    Args:
        model: The model.
        context_length: Number of positions of the cache.
    """

    def __init__(self, model: GPT2Model, context_length: int) -> None:
        super().__init__()
        self.context_length = context_length
        self.block_length = chunk_length(context_length)
        self._model = model
        self._past = self._variables(context_length)
        self._block = self._variables(self.block_length)
        self._block_start = tf.Variable(0)

    def _variables(self, length: int) -> list[tuple[tf.Variable, tf.Variable]]:
        """Returns the keys and values of each layer, (1, heads, length, head_dim) each."""
        config = self._model.config
        empty = tf.zeros([1, config.num_heads, length, config.head_dim])
        return [(tf.Variable(empty), tf.Variable(empty)) for _ in range(config.num_layers)]

    def prefill(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Reads a prompt, int32 (tokens,), into the past, in chunks.

        Returns:
            The logits of the next token, float32 `(1, vocab)`.
        """
        count, size = tf.size(token_ids), self.block_length
        # Padded with the last token, whose keys and values after the end are overwritten by those
        # of the new tokens. Of a fixed size, as signatures share the loop: LiteRT does not notice
        # that one of them has changed the size of its inputs.
        index = tf.minimum(tf.range(self.context_length + size), count - 1)
        padded = tf.gather(token_ids, index)
        empty = tf.zeros([1, self._model.config.num_heads, size, self._model.config.head_dim])

        def body(start: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            logits, layers = self._model(
                tf.expand_dims(tf.slice(padded, [start], [size]), 0),
                cache=[BlockCache(*pair, empty, empty) for pair in self._read_past()],
                cache_index=start,
                # Computed for each chunk, though only the last is needed: a branch would cost more.
                logits_index=tf.minimum(count - start, size) - 1,
                training=False,
            )
            self._write_to_past(layers, start)
            return start + size, tf.squeeze(logits, 1)

        logits = tf.zeros([1, self._model.config.vocab_size])
        state = (tf.constant(0), logits)
        return tf.while_loop(lambda start, _: start < count, body, state)[1]

    def load_block(self, position: tf.Tensor) -> None:
        """Copies the block of a position, int32 (), from the past, for `decode`."""
        start = self._start_of_block(position)
        for past, block in zip(self._past, self._block, strict=True):
            for variable, part in zip(block, past, strict=True):
                variable.assign(self._block_of(part.read_value(), start))
        self._block_start.assign(start)

    def decode(self, token_id: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """Reads one more token, int32 (1,), at a position, int32 (1,).

        Returns:
            The logits of the next token, float32 `(1, vocab)`.
        """
        self._change_block(self._start_of_block(position[0]))
        logits, layers = self._model(
            tf.expand_dims(token_id, 0),
            cache=self._read_cache(),
            cache_index=position[0],
            num_logits=1,
            training=False,
        )
        for (keys, values), layer in zip(self._block, layers, strict=True):
            keys.assign(layer.keys)
            values.assign(layer.values)
        # Not a slice, which LiteRT copies number by number.
        return tf.squeeze(logits, 1)

    def generate(
        self,
        token_ids: tf.Tensor,
        sampling: SamplingTensors,
        limits: tf.Tensor,
        processors: ProcessorTensors | None = None,
    ) -> tf.Tensor:
        """Continues a prompt, int32 (tokens,), by at most `limits`, int32 (1,), tokens.

        The processors are by default those of the generation config.

        Returns:
            The new tokens, int32 `(new_tokens,)`, without an end token.
        """
        processors = processors or export_processors(self._model)
        count, logits = tf.size(token_ids), self.prefill(token_ids)
        state = decoding_loop.sample(
            self._state(count, limits < 1), logits, sampling, processors, limits
        )

        def fill_block(state: decoding_loop.DecodingState) -> tuple[decoding_loop.DecodingState]:
            start = self._start_of_block(state.cache_index)
            _, _, state = decoding_loop.advance(
                self._model,
                state,
                sampling,
                processors,
                max_steps=start + self.block_length - state.cache_index,
                static_max_steps=self.block_length,
                limits=limits,
            )
            return (state._replace(cache=[self._with_block(it, start) for it in state.cache]),)

        (state,) = tf.while_loop(lambda state: ~tf.reduce_all(state.finished), fill_block, (state,))
        new_ids = state.history.token_ids[0, count : state.history.next_new]
        ended = tf.cast(is_any(new_ids, processors.stop_ids), tf.int32)
        size = tf.size(new_ids) - tf.reduce_sum(ended)
        # Not a slice: LiteRT's Python interpreter cannot read one without elements.
        return tf.gather(new_ids, tf.range(size))

    def _state(self, count: tf.Tensor, finished: tf.Tensor) -> decoding_loop.DecodingState:
        """Returns the state of the decoding loop after a prompt of `count` tokens."""
        start, length = self._start_of_block(count), self.context_length
        return decoding_loop.DecodingState(
            [
                BlockCache(*pair, *(self._block_of(part, start) for part in pair))
                for pair in self._read_past()
            ],
            tf.ones([1, length], tf.bool),
            count,
            History(tf.fill([1, length + 1], NO_TOKEN), count, count),
            tf.zeros([1], tf.int32),
            tf.zeros([1]),
            finished,
        )

    def _read_past(self) -> list[tuple[tf.Tensor, tf.Tensor]]:
        return [(keys.read_value(), values.read_value()) for keys, values in self._past]

    def _read_cache(self) -> list[BlockCache]:
        """Returns the past and the block in the variables."""
        blocks = [(keys.read_value(), values.read_value()) for keys, values in self._block]
        pairs = zip(self._read_past(), blocks, strict=True)
        return [BlockCache(*past, *block) for past, block in pairs]

    def _write_to_past(self, layers: list[BlockCache], start: tf.Tensor) -> None:
        """Writes the blocks, which start at a position, to the past."""
        for (keys, values), layer in zip(self._past, layers, strict=True):
            written = self._with_block(layer, start)
            keys.assign(written.past_keys)
            values.assign(written.past_values)

    def _start_of_block(self, position: tf.Tensor) -> tf.Tensor:
        return position - position % self.block_length

    def _block_of(self, past: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        """Slices a block of keys or values, (1, heads, block_length, head_dim)."""
        heads, _, head_dim = past.shape[1:]
        return tf.slice(past, [0, 0, start, 0], [1, heads, self.block_length, head_dim])

    def _with_block(self, layer: BlockCache, start: tf.Tensor) -> BlockCache:
        """Returns the cache with the block written to the past."""
        slots = LITERT.cache_slots(layer[:2], self.block_length, start)
        return layer._replace(
            past_keys=LITERT.write(layer.past_keys, layer.keys, slots),
            past_values=LITERT.write(layer.past_values, layer.values, slots),
        )

    def _change_block(self, start: tf.Tensor) -> None:
        """Writes the block to the past and loads the one at `start`, if that is another."""

        def body(_: tf.Tensor, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            self._write_to_past(self._read_cache(), self._block_start.read_value())
            self.load_block(start)
            return start, start

        before = self._block_start.read_value()
        # A loop of at most one iteration, as `flatbuffer.py` moves variables into loops alone.
        tf.while_loop(lambda loaded, start: ~tf.equal(loaded, start), body, (before, start))
