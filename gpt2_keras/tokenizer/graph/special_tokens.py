"""Special tokens in the bytes of texts, found by integer ops."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from gpt2_keras.tokenizer.graph.array_ops import concat_ranges, nonzero, scatter_update


class FoundTokens(NamedTuple):
    """The special tokens found in a text.

    Args:
        starts: int32 `(count,)`, their first bytes, in order.
        sizes: int32 `(count,)`, number of bytes of each.
        which: int32 `(count,)`, the index of each among the special tokens.
    """

    starts: tf.Tensor
    sizes: tf.Tensor
    which: tf.Tensor


def find_special_tokens(data: tf.Tensor, texts: Sequence[bytes]) -> FoundTokens:
    """Finds special tokens, the leftmost first and of several the longest, none overlapping.

    Args:
        data: int32 tensor `(size,)` of bytes, with a value that is no byte between texts.
        texts: The bytes of the special tokens, at least one each.
    """
    found = tf.zeros_like(data)  # one more than the rank in `longest_last`
    longest_last = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    end = tf.shape(data)[0] - 1
    for rank, index in enumerate(longest_last):
        starts = nonzero(data == texts[index][0])
        for k, value in enumerate(texts[index][1:], 1):
            next_byte = tf.minimum(starts + k, end)
            starts = tf.gather(starts, nonzero(tf.gather(data, next_byte) == value))
        found = scatter_update(found, starts, tf.fill(tf.shape(starts), rank + 1))
    starts = nonzero(found > 0)
    which = tf.gather(tf.constant(longest_last, tf.int32), tf.gather(found, starts) - 1)
    sizes = tf.gather(tf.constant([len(text) for text in texts], tf.int32), which)
    if _may_overlap(texts):
        kept = nonzero(_without_overlap(starts, starts + sizes))
        starts, sizes, which = (tf.gather(x, kept) for x in (starts, sizes, which))
    return FoundTokens(starts, sizes, which)


def replace_special_tokens(
    data: tf.Tensor, found: FoundTokens, codes: Sequence[int], inside: int
) -> tf.Tensor:
    """Returns the data with codes in place of the bytes of special tokens.

    Args:
        data: int32 tensor `(size,)`.
        found: The special tokens in it.
        codes: The code of the first byte of each of the texts.
        inside: The code of the other bytes.
    """
    first_codes = tf.gather(tf.constant(codes, tf.int32), found.which)
    data = scatter_update(data, found.starts, first_codes)
    others, _ = concat_ranges(found.starts + 1, found.sizes - 1)
    return scatter_update(data, others, tf.fill(tf.shape(others), inside))


def _may_overlap(texts: Sequence[bytes]) -> bool:
    """Returns whether one text can begin within another, after its first byte."""
    return any(
        other.startswith(text[start : start + len(other)])
        for text in texts
        for start in range(1, len(text))
        for other in texts
    )


def _without_overlap(starts: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
    """Returns which ranges are kept, from the left: none that begins within a kept one."""
    count = tf.shape(starts)[0]

    def step(i: tf.Tensor, end: tf.Tensor, kept: tf.TensorArray) -> tuple[tf.Tensor, ...]:
        keep = starts[i] >= end
        return i + 1, tf.where(keep, ends[i], end), kept.write(i, keep)

    result = tf.while_loop(lambda i, *_: i < count, step, (0, 0, tf.TensorArray(tf.bool, count)))
    return result[-1].stack()
