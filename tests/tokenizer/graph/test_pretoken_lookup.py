"""Pre-tokens that are one token, and equal pre-tokens."""

import pytest
import tensorflow as tf

from gpt2_keras.tokenizer.graph.merge_tables import build_merge_tables
from gpt2_keras.tokenizer.graph.pretoken_lookup import (
    UNKNOWN,
    PreTokenLookup,
    build_token_table,
    to_words,
)

BYTES = [bytes([value]) for value in range(256)]
LONG = b"a pre-token of more than 16 bytes"


@pytest.fixture
def lookup():
    return PreTokenLookup(build_merge_tables([*BYTES, b"he", b"hey"], [(104, 101), (256, 121)], {}))


def arguments(pre_tokens):
    text, sizes = b"".join(pre_tokens), [len(pre_token) for pre_token in pre_tokens]
    starts = tf.cumsum(tf.constant(sizes), exclusive=True)
    return to_words(tf.constant(text), tf.constant(len(text))), starts, tf.constant(sizes)


def find_equal(lookup, pre_tokens):
    firsts, which = lookup.find_equal(*arguments(pre_tokens))
    return [pre_tokens[i] for i in firsts.numpy()], which.numpy().tolist()


def test_only_pre_tokens_that_are_one_token_are_known(lookup):
    pre_tokens = [b"hey", b"h", b"heyhey", b"he", b"he\0", b"\0", LONG, b"hey"]
    found = lookup(*arguments(pre_tokens)).numpy().tolist()
    assert found == [257, 104, UNKNOWN, 256, UNKNOWN, 0, UNKNOWN, 257]


def test_equal_pre_tokens_of_any_length_are_found(lookup):
    pre_tokens = [LONG, b"ab", LONG + b"!", b"ab\0", b"ab", LONG * 90, LONG, LONG * 90]
    different, which = find_equal(lookup, pre_tokens)
    assert different == [LONG, b"ab", LONG + b"!", b"ab\0", LONG * 90]
    assert [different[i] for i in which] == pre_tokens


def test_different_pre_tokens_of_one_hash_do_not_count_as_equal(lookup):
    lookup._word_factors = tf.zeros([256], tf.uint64)  # only the size is left of the hash
    pre_tokens = [b"ab", b"cd", LONG, LONG[::-1], b"ab"]
    assert find_equal(lookup, pre_tokens) == (pre_tokens, [0, 1, 2, 3, 4])
    assert find_equal(lookup, [b"ab", LONG, b"ab"]) == ([b"ab", LONG], [0, 1, 0])


def test_the_token_table_has_the_tokens_of_up_to_15_bytes():
    tokens = [b"a", b"a\0", b"fifteen bytes!!", b"sixteen bytes!!!"]
    table = build_token_table(tokens, [1, 2, 3, 4])
    assert sorted(set(table.rows[:, 2].tolist())) == [0, 1, 2, 3]
