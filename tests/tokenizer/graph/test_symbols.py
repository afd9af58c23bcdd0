"""The symbols of a vocabulary."""

import numpy as np
import pytest

from gpt2_keras.tokenizer.graph.symbols import build_symbols
from tests.tokenizer.reference_bpe import read_gpt2

BYTES = [bytes([value]) for value in range(256)]


def test_a_merge_of_later_tokens_is_not_ordered():
    tokens = [*BYTES, b"ab", b"abc"]
    assert build_symbols(tokens, [(97, 98), (256, 99)], {}).is_ordered
    assert not build_symbols(tokens, [(256, 99), (97, 98)], {}).is_ordered
    assert not build_symbols(tokens, [(97, 98), (97, 98)], {}).is_ordered


def test_a_vocabulary_without_a_byte_is_an_error():
    with pytest.raises(ValueError, match=r"^tokens has none for the byte 255\. .*Add it"):
        build_symbols(BYTES[:255], [], {})


def test_a_merge_without_an_id_is_an_error():
    with pytest.raises(ValueError, match=r"^merges\[0\] makes b'ab', which has no id\. Use the"):
        build_symbols(BYTES, [(97, 98)], {})


def test_a_merge_of_unknown_ids_is_an_error():
    message = r"^merges\[0\]=\(97, 256\) has an id outside the vocabulary of 256 tokens\."
    with pytest.raises(ValueError, match=message):
        build_symbols(BYTES, [(97, 256)], {})


def test_pre_tokens_split_only_where_no_merge_joins(gpt2_files):
    tokens, merges, special_tokens = read_gpt2(gpt2_files)
    expected = {(tokens[left][-1], tokens[right][0]) for left, right in merges}
    joined = build_symbols(tokens, merges, special_tokens).joined
    assert {divmod(int(i), 256) for i in np.flatnonzero(joined)} == expected
