"""Special tokens in the text, found as integer arithmetic."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from gpt2_keras.tokenizer.graph.array_ops import positions, ranges, replaced


class Specials(NamedTuple):
    """Where special tokens are.

    Args:
        at: int32 `(count,)`, their first bytes, in order.
        size: int32 `(count,)`, number of bytes of each.
        index: int32 `(count,)`, which of the special tokens it is.
    """

    at: tf.Tensor
    size: tf.Tensor
    index: tf.Tensor


def find_specials(data: tf.Tensor, texts: Sequence[bytes]) -> Specials:
    """Finds special tokens, the leftmost first and of several the longest, none overlapping.

    Args:
        data: int32 tensor `(size,)` of bytes, with no byte between texts.
        texts: The bytes of the special tokens, at least one each.
    """
    found = tf.zeros_like(data)  # one more than the place in `longest_last`
    longest_last = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    end = tf.shape(data)[0] - 1
    for place, index in enumerate(longest_last):
        at = positions(data == texts[index][0])
        for k, value in enumerate(texts[index][1:], 1):
            next_byte = tf.minimum(at + k, end)
            at = tf.gather(at, positions(tf.gather(data, next_byte) == value))
        found = replaced(found, at, tf.fill(tf.shape(at), place + 1))
    at = positions(found > 0)
    index = tf.gather(tf.constant(longest_last, tf.int32), tf.gather(found, at) - 1)
    size = tf.gather(tf.constant([len(text) for text in texts], tf.int32), index)
    if _may_overlap(texts):
        kept = positions(_without_overlap(at, at + size))
        at, size, index = (tf.gather(x, kept) for x in (at, size, index))
    return Specials(at, size, index)


def mark_specials(
    data: tf.Tensor, found: Specials, numbers: Sequence[int], inside: int
) -> tf.Tensor:
    """Returns the data with special tokens as numbers of their own.

    Args:
        data: int32 tensor `(size,)`.
        found: The special tokens in it.
        numbers: What stands at the first byte of each of the texts.
        inside: What stands at the other bytes.
    """
    data = replaced(data, found.at, tf.gather(tf.constant(numbers, tf.int32), found.index))
    others, _ = ranges(found.at + 1, found.size - 1)
    return replaced(data, others, tf.fill(tf.shape(others), inside))


def _may_overlap(texts: Sequence[bytes]) -> bool:
    """Returns whether one text can begin behind the beginning of another, and within it."""
    return any(
        other.startswith(text[start : start + len(other)])
        for text in texts
        for start in range(1, len(text))
        for other in texts
    )


def _without_overlap(starts: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
    """Returns which ranges remain if each that begins within one that remains goes."""
    count = tf.shape(starts)[0]

    def step(i: tf.Tensor, end: tf.Tensor, stays: tf.TensorArray) -> tuple[tf.Tensor, ...]:
        stay = starts[i] >= end
        return i + 1, tf.where(stay, ends[i], end), stays.write(i, stay)

    result = tf.while_loop(lambda i, *_: i < count, step, (0, 0, tf.TensorArray(tf.bool, count)))
    return result[-1].stack()
