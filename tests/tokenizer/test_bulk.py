"""The encoder of corpora equals the tokenizer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_keras.tokenizer import GPT2Tokenizer, bulk
from tests.tokenizer.nasty import TEXT_FRAGMENTS, seeded

TEXT = "It was the best of times, it was the worst of times.\n" * 20
UINT16 = np.dtype("<u2")


@pytest.fixture(scope="module")
def tokenizer():
    """A tokenizer with merges across every boundary where a wrong split could fall."""
    random = seeded(0)
    mixed = ["".join(random.choices(TEXT_FRAGMENTS, k=12)) for _ in range(3000)]
    signs = ["".join(random.choices("!'\x1c\x1f\x85as1", k=6)) for _ in range(3000)]
    return GPT2Tokenizer.train([TEXT, *mixed, *signs], vocab_size=2500)


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return bulk.BulkEncoder(tokenizer, UINT16)


@pytest.fixture(scope="module")
def separating_encoder(tokenizer):
    """One that puts ids between texts."""
    return bulk.BulkEncoder(tokenizer, UINT16, between=[7, 8])


def ids_of(encoder, text):
    return np.frombuffer(encoder.encode_texts([text]), UINT16).tolist()


@settings(deadline=None, max_examples=200)
@given(fragments=st.lists(st.sampled_from(TEXT_FRAGMENTS), max_size=12))
def test_ids_of_nasty_texts_are_those_of_the_tokenizer(encoder, tokenizer, fragments):
    text = "".join(fragments)
    assert ids_of(encoder, text) == tokenizer.encode(text)


@settings(deadline=None, max_examples=150)
@given(
    text=st.text(st.characters(max_codepoint=127), max_size=20)
    | st.text(" \n'ab1!\x1c", max_size=20)
)
def test_ids_of_ascii_are_those_of_the_tokenizer(encoder, tokenizer, text):
    assert ids_of(encoder, text) == tokenizer.encode(text)


@settings(deadline=None)
@given(text=st.text(st.characters(exclude_categories=[]), max_size=20))
def test_ids_of_any_text_are_those_of_the_tokenizer(encoder, tokenizer, text):
    assert ids_of(encoder, text) == tokenizer.encode(text)


def test_ids_of_real_text_are_those_of_openais_vocabulary(gpt2_files, text_files):
    openai = GPT2Tokenizer.from_directory(gpt2_files)
    text = (text_files / "tinyshakespeare.txt").read_text(encoding="utf-8")[:100_000]
    encoder = bulk.BulkEncoder(openai, UINT16)
    for _ in range(2):  # with every pre-token new, and with none
        assert ids_of(encoder, text) == openai.encode(text)


def test_ids_take_the_bytes_of_the_dtype(tokenizer):
    wide = bulk.BulkEncoder(tokenizer, np.dtype("<u4"))
    assert np.frombuffer(wide.encode_texts(["best of"]), "<u4").tolist() == tokenizer.encode(
        "best of"
    )


@settings(deadline=None)
@given(texts=st.lists(st.text(" \n\u3000'aé1!", max_size=4), max_size=5))
def test_texts_together_have_the_ids_they_have_alone(separating_encoder, tokenizer, texts):
    found = np.frombuffer(separating_encoder.encode_texts(texts), UINT16).tolist()
    expected = [[*tokenizer.encode(text), 7, 8] for text in texts]
    assert found == [number for ids in expected for number in ids][: -2 if texts else None]


@pytest.mark.parametrize("bits", [0, 2])
def test_pre_tokens_of_one_slot_keep_their_ids(tokenizer, monkeypatch, bits):
    monkeypatch.setattr(bulk, "_SLOT_BITS", bits)
    encoder, random = bulk.BulkEncoder(tokenizer, UINT16), seeded(1)
    for _ in range(30):
        text = "".join(random.choices(TEXT_FRAGMENTS, k=60))
        assert ids_of(encoder, text) == tokenizer.encode(text)


def test_short_pre_tokens_that_differ_in_zeros_or_length_are_told_apart(tokenizer):
    # A pre-token of up to 15 bytes makes a key of 16: its own zeros are not padding.
    alike = ["\0", "\0\0", "a" * 15, "a" * 16, "a" * 17, "a" * 15 + "\0", "\0" * 15, "\0" * 16]
    encoder = bulk.BulkEncoder(tokenizer, UINT16)
    for _ in range(2):
        for text in alike:
            assert ids_of(encoder, text) == tokenizer.encode(text)


def test_the_number_of_cached_pre_tokens_is_bounded(tokenizer, monkeypatch):
    monkeypatch.setattr(bulk, "MAX_CACHED_PRE_TOKENS", 10)
    encoder = bulk.BulkEncoder(tokenizer, UINT16, between=[1])
    for start in range(0, 100, 5):
        text = " ".join(str(number) for number in range(start, start + 5))
        assert ids_of(encoder, text) == tokenizer.encode(text)
        assert len(encoder._cache) <= 17
    long = "x" * (bulk.MAX_CACHED_LENGTH + 1)
    assert ids_of(encoder, long) == tokenizer.encode(long)
    assert long.encode() not in encoder._cache._entry_of


def test_the_number_of_cached_ids_is_bounded(tokenizer, monkeypatch):
    monkeypatch.setattr(bulk, "MAX_CACHED_BYTES", 100)
    encoder = bulk.BulkEncoder(tokenizer, UINT16, between=[1])
    for number in range(20):
        long = f"{number:080d}"
        assert ids_of(encoder, long + " best") == tokenizer.encode(long + " best")
        assert len(encoder._cache._ids) < 100 + 2 * 100
    assert encoder.encode_texts(["", ""]) == np.array([1], UINT16).tobytes()
