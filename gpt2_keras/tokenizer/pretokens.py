"""GPT-2's pattern as rules on neighbouring bytes.

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

Source: `self.pat` in openai/gpt-2 `src/encoder.py`.
"""

import tensorflow as tf

from gpt2_keras.tokenizer.flat_arrays import positions, replaced, shifted
from gpt2_keras.tokenizer.unicode_classes import LETTER, NUMBER, PAGE_BITS, WHITE_SPACE
from gpt2_keras.tokenizer.utf8 import find_characters

SPACE, APOSTROPHE = ord(" "), ord("'")
SHORT_CONTRACTIONS = "stmd"
LONG_CONTRACTIONS = ("re", "ve", "ll")


def find_starts(
    data: tf.Tensor, border: tf.Tensor, first_of_page: tf.Tensor, class_of: tf.Tensor
) -> tf.Tensor:
    """Finds where the parts begin that GPT-2's pattern cuts a text into.

    A byte that belongs to no character counts as a character of its own,
    neither letter nor number nor white space.

    Args:
        data: Integer tensor `(size,)` of bytes that ends with zeros, as
            `find_characters` needs them.
        border: Bool tensor `(size,)`, true where a text begins and behind the
            last one. The pattern does not look over a border.
        first_of_page: int32 tensor, as `class_pages` returns it.
        class_of: uint8 tensor, likewise.

    Returns:
        Bool tensor `(size,)`, true at the first byte of each part.
    """
    classes, goes_on, spaces, after_spaces = _classify(data, border, first_of_page, class_of)
    is_space = classes == WHITE_SPACE
    changes = (classes != shifted(classes, 1, 0)) | border
    # One space may lead a run of another class, and is then its first byte.
    after_space = shifted(data == SPACE, 1, False) & ~border
    # The last white space before something else stands alone: \s+(?!\S) gives it back.
    is_last_space = is_space & ~shifted(is_space | border, -1, True)
    starts = ((changes & (is_space | ~after_space)) | is_last_space) & ~goes_on
    # Of a white space of several bytes the rule looks behind the last of them.
    starts = replaced(
        starts,
        spaces,
        tf.gather(changes, spaces) | tf.gather(is_last_space, after_spaces - 1),
    )
    return _split_contractions(data, border, starts)


def _classify(
    data: tf.Tensor, border: tf.Tensor, first_of_page: tf.Tensor, class_of: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the class of the character over each byte, and whether it began before.

    And the positions of white space of several bytes, and of what is behind.
    """
    letter = ((data >= ord("a")) & (data <= ord("z"))) | ((data >= ord("A")) & (data <= ord("Z")))
    digit = (data >= ord("0")) & (data <= ord("9"))
    space = (data == SPACE) | ((data >= 0x09) & (data <= 0x0D))
    zero = tf.zeros_like(data)
    classes = tf.where(
        letter,
        zero + LETTER,
        tf.where(digit, zero + NUMBER, tf.where(space, zero + WHITE_SPACE, 0)),
    )
    found = find_characters(data, border)
    page = tf.gather(first_of_page, found.code_point // (1 << PAGE_BITS))
    many = tf.gather(class_of, page + found.code_point % (1 << PAGE_BITS))
    many = tf.cast(many, tf.int32)
    many = tf.where(found.is_valid, many, 0)
    is_space = found.is_valid & (many == WHITE_SPACE)
    chosen = positions(is_space)
    spaces = tf.gather(found.at, chosen)
    after_spaces = spaces + tf.gather(found.size, chosen)

    # The class goes from the first byte to those behind it, with the number of bytes.
    sized = tf.where(found.is_valid, many + 4 * found.size, 0)
    sized = replaced(classes, found.at, tf.cast(sized, data.dtype))
    goes_on = tf.zeros_like(border)
    spread = sized
    for back in (1, 2, 3):
        before = shifted(sized, back, 0)
        covered = before >= 4 * (back + 1)
        goes_on = goes_on | covered
        spread = tf.where(covered, before, spread)
    return spread % 4, goes_on, spaces, after_spaces


def _split_contractions(data: tf.Tensor, border: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
    """Makes 's, 't, 'm, 'd, 're, 've and 'll parts of their own where a part begins."""
    at = positions(starts & (data == APOSTROPHE))
    rest = tf.where(border, tf.zeros_like(data), data)
    first, second = tf.gather(rest, at + 1), tf.gather(rest, at + 2)
    is_short = tf.zeros_like(at, tf.bool)
    for letter in SHORT_CONTRACTIONS:
        is_short = is_short | (first == ord(letter))
    is_long = tf.zeros_like(at, tf.bool)
    for pair in LONG_CONTRACTIONS:
        is_long = is_long | ((first == ord(pair[0])) & (second == ord(pair[1])))
    short, long = tf.gather(at, positions(is_short)), tf.gather(at, positions(is_long))
    inside = tf.concat([short, long], 0) + 1
    behind = tf.concat([short + 2, long + 3], 0)
    starts = replaced(starts, inside, tf.zeros_like(inside, tf.bool))
    return replaced(starts, behind, tf.ones_like(behind, tf.bool))
