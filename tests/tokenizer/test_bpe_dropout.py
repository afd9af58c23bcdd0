"""Encoding with merges left out at random."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_keras.tokenizer import GPT2Tokenizer, bpe_dropout
from gpt2_keras.tokenizer.bpe_dropout import BPEDropout
from tests.tokenizer.nasty import TEXT_FRAGMENTS

TEXT = "It was the best of times, it was the worst of times.\n" * 20


@pytest.fixture(scope="module")
def tokenizer():
    return GPT2Tokenizer.train([TEXT, *TEXT_FRAGMENTS], vocab_size=340)


def rng(seed=0):
    return random.Random(seed)  # noqa: S311 -- tests, no secrets


@settings(deadline=None)
@given(fragments=st.lists(st.sampled_from(TEXT_FRAGMENTS), max_size=9), rate=st.floats(0, 1))
def test_ids_decode_to_the_same_bytes(tokenizer, fragments, rate):
    text = "".join(fragments)
    ids = BPEDropout(tokenizer, rate).encode(text, rng())
    assert tokenizer.decode_bytes(ids) == text.encode()


@settings(deadline=None)
@given(fragments=st.lists(st.sampled_from(TEXT_FRAGMENTS), max_size=9))
def test_without_dropout_the_ids_are_those_of_the_tokenizer(tokenizer, fragments):
    text = "".join(fragments) + "aaaaaaa"
    assert BPEDropout(tokenizer, 0).encode(text, rng()) == tokenizer.encode(text)


def test_at_rate_1_the_ids_are_bytes(tokenizer):
    ids = BPEDropout(tokenizer, 1).encode(TEXT, rng())
    assert [tokenizer.token_bytes[i] for i in ids] == [bytes([byte]) for byte in TEXT.encode()]


def test_a_merge_is_left_out_as_often_as_the_rate_says():
    tokenizer = GPT2Tokenizer.train(["ab ab ab ab"], vocab_size=258)
    ids = BPEDropout(tokenizer, 0.3).encode("ab " * 4000, rng())
    pairs = ids.count(tokenizer.encode("ab")[0])
    assert abs(pairs / 4000 - 0.7) < 0.022  # three standard errors


def test_the_random_numbers_decide_and_nothing_else(tokenizer):
    dropout = BPEDropout(tokenizer, 0.3)
    assert dropout.encode(TEXT, rng(1)) == dropout.encode(TEXT, rng(1))
    assert dropout.encode(TEXT, rng(1)) != dropout.encode(TEXT, rng(2))
    # Python promises that its random numbers stay the same; so do the ids.
    assert dropout.encode("worst of times", rng(0)) == [86, 273, 274, 220, 78, 69, 265, 257]


def test_a_long_pre_token_is_split(tokenizer, monkeypatch):
    monkeypatch.setattr(bpe_dropout, "MAX_PRE_TOKEN_LENGTH", 4)
    ids = BPEDropout(tokenizer, 1e-9).encode("timestimes", rng())
    assert ids == tokenizer.encode("time") + tokenizer.encode("stim") + tokenizer.encode("es")


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (-0.1, r"^rate=-0\.1 is not at least 0\. Use a number at least 0 and at most 1\."),
        (1.1, r"^rate=1\.1 is not at most 1\."),
        (float("nan"), r"^rate=nan is not finite\."),
    ],
)
def test_a_rate_out_of_range_is_an_error(tokenizer, rate, message):
    with pytest.raises(ValueError, match=message):
        BPEDropout(tokenizer, rate)


def test_arguments_of_a_wrong_type_are_errors(tokenizer):
    with pytest.raises(TypeError, match=r"^rate=True is a bool\."):
        BPEDropout(tokenizer, True)
    with pytest.raises(TypeError, match=r"^tokenizer='gpt2' is a str\. Use a GPT2Tokenizer\."):
        BPEDropout("gpt2", 0.1)
