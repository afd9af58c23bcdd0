import math

import numpy as np
import pytest

from tests.models import text_model


@pytest.fixture(scope="module")
def model():
    return text_model()


def log_probs_by_definition(model, ids):
    inputs = np.array([[model.tokenizer.end_token_id, *ids[:-1]]])
    logits = np.array(model(inputs)[0], "float64")
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.log(probs[np.arange(len(ids)), ids])


def test_each_token_is_scored_given_those_before_it(model):
    texts = ["the cat sat", "é", "", "it's 42"]
    scores = model.score(texts)
    for text, score in zip(texts, scores, strict=True):
        ids = model.tokenizer.encode(text)
        assert score.token_ids == ids
        assert len(score.tokens) == len(ids)
        if ids:
            expected = log_probs_by_definition(model, ids)
            np.testing.assert_allclose(score.log_probs, expected, atol=1e-4)
            assert score.total == pytest.approx(expected.sum(), abs=1e-3)
            assert score.perplexity == pytest.approx(np.exp(-expected.mean()), rel=1e-4)
    assert math.isnan(scores[2].perplexity)
    assert model.score("the cat sat").token_ids == scores[0].token_ids


def test_the_empty_text_alone_has_no_tokens(model):
    assert model.score("").log_probs == []


def test_next_tokens_are_the_most_likely_with_their_probabilities(model):
    for prompt in ("the", ""):
        ids = model.tokenizer.encode(prompt) or [model.tokenizer.end_token_id]
        logits = np.array(model(np.array([ids]))[0, -1], "float64")
        probs = np.exp(logits) / np.exp(logits).sum()
        candidates = model.next_tokens(prompt, k=5)
        order = np.argsort(-probs)[:5].tolist()
        assert [candidate.id for candidate in candidates] == order
        np.testing.assert_allclose([c.probability for c in candidates], probs[order], rtol=1e-4)
        assert candidates[0].text == model.tokenizer.decode([order[0]])
    everything = model.next_tokens("the", k=model.config.vocab_size)
    assert sum(candidate.probability for candidate in everything) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, ValueError, "k=0 is less than 1"),
        (9999, ValueError, "k=9999 is greater than 280"),
        (True, TypeError, "k=True is a bool"),
        (2.0, TypeError, "k=2.0 is a float"),
        (float("nan"), TypeError, "k=nan is a float"),
    ],
)
def test_a_wrong_number_of_candidates_is_an_error(model, k, error, message):
    with pytest.raises(error, match=message):
        model.next_tokens("a", k=k)


def test_texts_of_another_type_or_length_are_an_error(model):
    with pytest.raises(TypeError, match=r"prompt=3 is an int"):
        model.next_tokens(3)
    with pytest.raises(ValueError, match=r"texts\[1\] has \d+ tokens, more than context_length=32"):
        model.score(["a", "zq" * 40])
    with pytest.raises(TypeError, match=r"texts\[0\]=b'a' is a bytes"):
        model.score([b"a"])
    with pytest.raises(ValueError, match=r"texts is empty"):
        model.score([])
