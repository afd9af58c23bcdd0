"""Merges left out at random."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_keras.tokenizer import GPT2Tokenizer, bpe_dropout
from gpt2_keras.tokenizer.bpe_dropout import BPEDropout
from tests.tokenizer.nasty import TEXT_PIECES

TEXT = "It was the best of times, it was the worst of times.\n" * 20


@pytest.fixture(scope="module")
def tokenizer():
    return GPT2Tokenizer.train([TEXT, *TEXT_PIECES], vocab_size=340)


def source(seed=0):
    return random.Random(seed)  # noqa: S311 -- tests, no secrets


@settings(deadline=None)
@given(pieces=st.lists(st.sampled_from(TEXT_PIECES), max_size=9), rate=st.floats(0, 1))
def test_ids_decode_to_the_same_bytes(tokenizer, pieces, rate):
    text = "".join(pieces)
    ids = BPEDropout(tokenizer, rate).encode(text, source())
    assert tokenizer.decode_bytes(ids) == text.encode()


@settings(deadline=None)
@given(pieces=st.lists(st.sampled_from(TEXT_PIECES), max_size=9))
def test_without_dropout_the_ids_are_those_of_the_tokenizer(tokenizer, pieces):
    text = "".join(pieces) + "aaaaaaa"
    assert BPEDropout(tokenizer, 0).encode(text, source()) == tokenizer.encode(text)


def test_with_nothing_left_the_ids_are_bytes(tokenizer):
    ids = BPEDropout(tokenizer, 1).encode(TEXT, source())
    assert [tokenizer.token_bytes[i] for i in ids] == [bytes([byte]) for byte in TEXT.encode()]


def test_a_merge_is_left_out_as_often_as_the_rate_says():
    tokenizer = GPT2Tokenizer.train(["ab ab ab ab"], vocab_size=258)
    ids = BPEDropout(tokenizer, 0.3).encode("ab " * 4000, source())
    pairs = ids.count(tokenizer.encode("ab")[0])
    assert abs(pairs / 4000 - 0.7) < 0.022  # three standard errors


def test_the_draws_decide_and_nothing_else(tokenizer):
    dropout = BPEDropout(tokenizer, 0.3)
    assert dropout.encode(TEXT, source(1)) == dropout.encode(TEXT, source(1))
    assert dropout.encode(TEXT, source(1)) != dropout.encode(TEXT, source(2))
    # Python promises that its random numbers stay the same; so do the ids.
    assert dropout.encode("worst of times", source(0)) == [86, 273, 274, 220, 78, 69, 265, 257]


def test_a_long_piece_is_cut(tokenizer, monkeypatch):
    monkeypatch.setattr(bpe_dropout, "LONGEST_PIECE", 4)
    ids = BPEDropout(tokenizer, 1e-9).encode("timestimes", source())
    assert ids == tokenizer.encode("time") + tokenizer.encode("stim") + tokenizer.encode("es")


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_out_of_range_is_refused(tokenizer, rate):
    with pytest.raises(ValueError, match=rf"at most 1\. Received: rate={rate}\."):
        BPEDropout(tokenizer, rate)
