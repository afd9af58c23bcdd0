"""Token ids back into bytes and into valid text."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from gpt2_keras.tokenizer.graph.array_ops import marks, ranges
from gpt2_keras.tokenizer.graph.utf8 import PADDING, CharacterReader


class Detokenizer:
    """Turns token ids into bytes, and these into valid UTF-8.

    Args:
        tokens: The bytes of each id.
        reader: What knows valid characters.
    """

    def __init__(self, tokens: Sequence[bytes], reader: CharacterReader) -> None:
        self._reader = reader
        self._vocab_size = len(tokens)
        ends = np.cumsum([len(token) for token in tokens])
        with tf.init_scope():
            self._pool = tf.constant(np.frombuffer(b"".join(tokens), np.uint8))
            # Behind the last token one of no bytes.
            self._token_starts = tf.constant(np.array([0, *ends, *ends[-1:]], np.int32))
            self._byte_strings = tf.constant([bytes([value]) for value in range(256)])

    @tf.autograph.experimental.do_not_convert
    def __call__(self, token_ids: tf.Tensor, num_tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `GraphTokenizer.detokenize`."""
        token_ids = tf.cast(token_ids, tf.int32)
        num_tokens = tf.minimum(tf.cast(num_tokens, tf.int32), tf.shape(token_ids)[1])
        ragged = tf.RaggedTensor.from_tensor(token_ids, lengths=num_tokens)
        data, sizes = self.bytes_of(ragged.values)
        byte_rows = tf.RaggedTensor.from_row_splits(sizes, ragged.row_splits, validate=False)
        row_sizes = tf.cast(tf.reduce_sum(byte_rows, axis=1), tf.int32)  # (batch,)
        row_ends = tf.cumsum(row_sizes)
        fixed, fixed_ends = self.replace_invalid(data, row_ends - row_sizes, row_ends)
        return self._strings(fixed, fixed_ends), self._strings(data, row_ends)

    @tf.autograph.experimental.do_not_convert
    def bytes_of(self, token_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Turns token ids into bytes.

        Args:
            token_ids: int32 tensor `(tokens,)`.

        Returns:
            The bytes, int32 `(size,)`, and how many are of each token, int32
            `(tokens,)`.
        """
        is_known = (token_ids >= 0) & (token_ids < self._vocab_size)
        token_ids = tf.where(is_known, token_ids, self._vocab_size)
        starts = tf.gather(self._token_starts, token_ids)
        sizes = tf.gather(self._token_starts, token_ids + 1) - starts
        at, _ = ranges(starts, sizes)
        return tf.cast(tf.gather(self._pool, at), tf.int32), sizes

    @tf.autograph.experimental.do_not_convert
    def replace_invalid(
        self, data: tf.Tensor, row_starts: tf.Tensor, row_ends: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes texts that lie behind one another valid UTF-8.

        Args:
            data: int32 tensor `(size,)` of bytes.
            row_starts: int32 tensor `(batch,)`, where each text begins.
            row_ends: int32 tensor `(batch,)`, where each text ends.

        Returns:
            The new bytes, int32 `(new_size,)`, and where each text ends in
            them, int32 `(batch,)`.
        """
        size = tf.shape(data)[0]
        data = tf.concat([data, tf.zeros([PADDING], tf.int32)], 0)
        border = marks(tf.concat([row_starts, row_ends], 0), size + PADDING)
        fixed, sizes = self._reader.replace_invalid(data, border)
        ends = tf.cumsum(sizes, exclusive=True)
        return fixed[: tf.shape(fixed)[0] - PADDING], tf.gather(ends, row_ends)

    def _strings(self, data: tf.Tensor, row_ends: tf.Tensor) -> tf.Tensor:
        """Returns the strings of bytes that lie behind one another."""
        row = tf.searchsorted(row_ends, tf.range(tf.shape(data)[0]), side="right")
        pieces = tf.gather(self._byte_strings, data)
        return tf.strings.unsorted_segment_join(pieces, row, tf.shape(row_ends)[0])
