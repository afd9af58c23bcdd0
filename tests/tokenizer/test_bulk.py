"""The encoder of corpora against the tokenizer itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_keras.tokenizer import GPT2Tokenizer, bulk
from tests.tokenizer.nasty import TEXT_PIECES, seeded

TEXT = "It was the best of times, it was the worst of times.\n" * 20
UINT16 = np.dtype("<u2")


@pytest.fixture(scope="module")
def tokenizer():
    """A tokenizer with merges at every place where a wrong cut could fall."""
    random = seeded(0)
    mixed = ["".join(random.choices(TEXT_PIECES, k=12)) for _ in range(3000)]
    signs = ["".join(random.choices("!'\x1c\x1f\x85as1", k=6)) for _ in range(3000)]
    return GPT2Tokenizer.train([TEXT, *mixed, *signs], vocab_size=2500)


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return bulk.BulkEncoder(tokenizer, UINT16)


def ids_of(encoder, text):
    return np.frombuffer(encoder.encode(text), UINT16).tolist()


@settings(deadline=None, max_examples=200)
@given(pieces=st.lists(st.sampled_from(TEXT_PIECES), max_size=12))
def test_ids_of_nasty_texts_are_those_of_the_tokenizer(encoder, tokenizer, pieces):
    text = "".join(pieces)
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


def test_the_ids_of_openai_are_found(gpt2_files, text_files):
    openai = GPT2Tokenizer.from_directory(gpt2_files)
    text = (text_files / "tinyshakespeare.txt").read_text(encoding="utf-8")[:100_000]
    encoder = bulk.BulkEncoder(openai, UINT16)
    for _ in range(2):  # with every word new, and with none
        assert ids_of(encoder, text) == openai.encode(text)


def test_ids_take_the_bytes_of_the_dtype(tokenizer):
    wide = bulk.BulkEncoder(tokenizer, np.dtype("<u4"))
    assert np.frombuffer(wide.encode("best of"), "<u4").tolist() == tokenizer.encode("best of")


def test_the_table_of_words_stays_small(tokenizer, monkeypatch):
    monkeypatch.setattr(bulk, "CACHED_WORDS", 10)
    encoder = bulk.BulkEncoder(tokenizer, UINT16)
    for start in range(0, 100, 5):
        text = " ".join(str(number) for number in range(start, start + 5))
        assert ids_of(encoder, text) == tokenizer.encode(text)
        assert len(encoder._words) <= 15
    encoder.encode("x" * (bulk.LONGEST_CACHED + 1) + " " + "é" * (bulk.LONGEST_CACHED + 1))
    assert max(map(len, encoder._words)) <= 3
    assert len(encoder._pieces) <= 15
