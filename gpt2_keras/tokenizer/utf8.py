"""UTF-8 as integer arithmetic: which bytes make characters, and which are none."""

from typing import NamedTuple

import tensorflow as tf

from gpt2_keras.tokenizer.flat_arrays import positions, ranges, replaced

FIRST_LEAD = 0xC2  # C0 and C1 would only start overlong forms
PADDING = 4  # bytes behind the text that must be there to be read
REPLACEMENT = (0xEF, 0xBF, 0xBD)  # U+FFFD


class Characters(NamedTuple):
    """What begins at the bytes that may begin a character of several bytes.

    Args:
        at: int32 `(leads,)`, their positions.
        size: int32 `(leads,)`, number of bytes of the longest beginning of a
            character there, 1 to 4.
        is_valid: bool `(leads,)`, true if that beginning is a character.
        code_point: int32 `(leads,)`, in [0, 0x10FFFF]; 0 if not valid.
    """

    at: tf.Tensor
    size: tf.Tensor
    is_valid: tf.Tensor
    code_point: tf.Tensor


def find_characters(data: tf.Tensor, border: tf.Tensor) -> Characters:
    """Finds the characters of several bytes.

    Valid is what Python's UTF-8 decoder takes: neither overlong forms, nor
    surrogates, nor what is above U+10FFFF. Source: table 3-7 of the Unicode
    Standard, "Well-Formed UTF-8 Byte Sequences".

    Args:
        data: Integer tensor `(size,)` of bytes that ends with `PADDING` zeros.
        border: Bool tensor `(size,)`. No character goes on over a border.
    """
    at = positions(data >= FIRST_LEAD)
    rest = tf.where(border, tf.zeros_like(data), data)
    first = tf.cast(tf.gather(data, at), tf.int32)
    second, third, fourth = (tf.cast(tf.gather(rest, at + k), tf.int32) for k in (1, 2, 3))
    least = tf.where(first == 0xE0, 0xA0, tf.where(first == 0xF0, 0x90, 0x80))
    most = tf.where(first == 0xED, 0x9F, tf.where(first == 0xF4, 0x8F, 0xBF))
    two = (second >= least) & (second <= most) & (first <= 0xF4)
    three = two & (first >= 0xE0) & (third >= 0x80) & (third <= 0xBF)
    four = three & (first >= 0xF0) & (fourth >= 0x80) & (fourth <= 0xBF)
    is_valid = tf.where(first < 0xE0, two, tf.where(first < 0xF0, three, four))
    size = 1 + sum(tf.cast(more, tf.int32) for more in (two, three, four))
    # Each byte holds 6 bits; the constants take the marks of the bytes away.
    code_point = tf.where(
        first < 0xE0,
        first * 64 + second - 0x3080,
        tf.where(
            first < 0xF0,
            (first * 64 + second) * 64 + third - 0xE2080,
            ((first * 64 + second) * 64 + third) * 64 + fourth - 0x3C82080,
        ),
    )
    return Characters(at, size, is_valid, tf.where(is_valid, code_point, 0))


def replace_invalid(data: tf.Tensor, border: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes bytes valid UTF-8 as `bytes.decode("utf-8", errors="replace")` does.

    Each longest beginning of a character that is not complete, and each other
    byte that belongs to no character, becomes one U+FFFD.

    Args:
        data: int32 tensor `(size,)` of bytes that ends with `PADDING` zeros.
        border: Bool tensor `(size,)`, true at the first byte of each text.

    Returns:
        The bytes, int32 `(new_size,)`, and `new_sizes`, int32 `(size,)`: the
        number of bytes that each byte became. The padding stays as it is.
    """
    found = find_characters(data, border)
    # Sizes of the output, byte by byte: 1 kept, 3 replaced, 0 part of a replaced one.
    new_sizes = tf.where(data >= 0x80, 3, 1)
    new_sizes = replaced(new_sizes, found.at, tf.where(found.is_valid, 1, 3))
    follower = ranges(found.at + 1, found.size - 1)
    kept = ranges(found.at + 1, tf.where(found.is_valid, found.size - 1, 0))
    new_sizes = replaced(new_sizes, follower, tf.zeros_like(follower))
    new_sizes = replaced(new_sizes, kept, tf.ones_like(kept))
    size = tf.shape(data)[0]
    starts = tf.where(new_sizes == 3, size, tf.range(size))
    pool = tf.concat([data, tf.constant(REPLACEMENT, tf.int32)], 0)
    return tf.gather(pool, ranges(starts, new_sizes)), new_sizes
