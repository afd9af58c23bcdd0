"""Token ids to bytes and to valid text, in a graph."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from gpt2_keras.tokenizer.graph.array_ops import concat_ranges, index_mask
from gpt2_keras.tokenizer.graph.utf8 import PADDING, CharacterReader


class Detokenizer:
    """Turns token ids into bytes, and bytes into valid UTF-8.

    Args:
        tokens: The bytes of each id.
        reader: Finds the valid characters.
    """

    def __init__(self, tokens: Sequence[bytes], reader: CharacterReader) -> None:
        self._reader = reader
        self._vocab_size = len(tokens)
        ends = np.cumsum([len(token) for token in tokens])
        with tf.init_scope():
            self._all_bytes = tf.constant(np.frombuffer(b"".join(tokens), np.uint8))
            # After the last token one without bytes.
            self._token_starts = tf.constant(np.array([0, *ends, *ends[-1:]], np.int32))
            self._byte_strings = tf.constant([bytes([value]) for value in range(256)])

    @tf.autograph.experimental.do_not_convert
    def __call__(self, token_ids: tf.Tensor, num_tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `GraphTokenizer.detokenize`."""
        token_ids = tf.cast(token_ids, tf.int32)
        rows, time = tf.unstack(tf.shape(token_ids))
        # Else a server that merges requests would answer one with another's text.
        message = tf.strings.format(
            "num_tokens has {} values for {} rows of token_ids. Send one for each row.",
            (tf.size(num_tokens), rows),
        )
        with tf.control_dependencies(
            [tf.debugging.Assert(tf.equal(tf.size(num_tokens), rows), [message])]
        ):
            num_tokens = tf.minimum(tf.cast(num_tokens, tf.int32), time)
        ragged = tf.RaggedTensor.from_tensor(token_ids, lengths=num_tokens)
        data, sizes = self.to_bytes(ragged.values)
        byte_rows = tf.RaggedTensor.from_row_splits(sizes, ragged.row_splits, validate=False)
        row_sizes = tf.cast(tf.reduce_sum(byte_rows, axis=1), tf.int32)  # (batch,)
        row_ends = tf.cumsum(row_sizes)
        valid, valid_ends = self.replace_invalid(data, row_ends - row_sizes, row_ends)
        return self._to_strings(valid, valid_ends), self._to_strings(data, row_ends)

    @tf.autograph.experimental.do_not_convert
    def to_bytes(self, token_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Turns token ids into bytes.

        Args:
            token_ids: int32 tensor `(tokens,)`. Ids outside the vocabulary give
                no bytes.

        Returns:
            The bytes, int32 `(size,)`, and the number of bytes of each token,
            int32 `(tokens,)`.
        """
        is_known = (token_ids >= 0) & (token_ids < self._vocab_size)
        token_ids = tf.where(is_known, token_ids, self._vocab_size)
        starts = tf.gather(self._token_starts, token_ids)
        sizes = tf.gather(self._token_starts, token_ids + 1) - starts
        indices, _ = concat_ranges(starts, sizes)
        return tf.cast(tf.gather(self._all_bytes, indices), tf.int32), sizes

    @tf.autograph.experimental.do_not_convert
    def replace_invalid(
        self, data: tf.Tensor, row_starts: tf.Tensor, row_ends: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes concatenated texts valid UTF-8.

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
        border = index_mask(tf.concat([row_starts, row_ends], 0), size + PADDING)
        valid, sizes = self._reader.replace_invalid(data, border)
        ends = tf.cumsum(sizes, exclusive=True)
        return valid[: tf.shape(valid)[0] - PADDING], tf.gather(ends, row_ends)

    def _to_strings(self, data: tf.Tensor, row_ends: tf.Tensor) -> tf.Tensor:
        """Returns concatenated bytes as one string per row, `(size,)` → `(batch,)`."""
        row = tf.searchsorted(row_ends, tf.range(tf.shape(data)[0]), side="right")
        characters = tf.gather(self._byte_strings, data)
        return tf.strings.unsorted_segment_join(characters, row, tf.shape(row_ends)[0])
