"""Whole words and equal words by their bytes."""

import pytest
import tensorflow as tf

from gpt2_keras.tokenizer.graph.merge_tables import build_merge_tables
from gpt2_keras.tokenizer.graph.word_cache import UNKNOWN, WordLookup, eights_of

BYTES = [bytes([value]) for value in range(256)]
LONG = b"a word of more than 16 bytes"


@pytest.fixture
def lookup():
    return WordLookup(build_merge_tables([*BYTES, b"he", b"hey"], [(104, 101), (256, 121)], {}))


def arguments(words):
    text, sizes = b"".join(words), [len(word) for word in words]
    at = tf.cumsum(tf.constant(sizes), exclusive=True)
    return eights_of(tf.constant(text), tf.constant(len(text))), at, tf.constant(sizes)


def equal_words(lookup, words):
    firsts, which = lookup.find_equal(*arguments(words))
    return [words[i] for i in firsts.numpy()], which.numpy().tolist()


def test_only_words_that_are_one_token_are_known(lookup):
    words = [b"hey", b"h", b"heyhey", b"he", b"he\0", b"\0", LONG, b"hey"]
    found = lookup(*arguments(words)).numpy().tolist()
    assert found == [257, 104, UNKNOWN, 256, UNKNOWN, 0, UNKNOWN, 257]


def test_equal_words_of_any_length_are_found(lookup):
    words = [LONG, b"ab", LONG + b"!", b"ab\0", b"ab", LONG * 90, LONG, LONG * 90]
    different, which = equal_words(lookup, words)
    assert different == [LONG, b"ab", LONG + b"!", b"ab\0", LONG * 90]
    assert [different[i] for i in which] == words


def test_different_words_of_one_hash_do_not_count_as_equal(lookup):
    lookup._chunk_factors = tf.zeros([256], tf.uint64)  # only the size is left of the hash
    words = [b"ab", b"cd", LONG, LONG[::-1], b"ab"]
    assert equal_words(lookup, words) == (words, [0, 1, 2, 3, 4])
    assert equal_words(lookup, [b"ab", LONG, b"ab"]) == ([b"ab", LONG], [0, 1, 0])
