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
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.log(shares[np.arange(len(ids)), ids])


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


def test_next_tokens_are_the_likeliest_with_their_probabilities(model):
    for prompt in ("the", ""):
        ids = model.tokenizer.encode(prompt) or [model.tokenizer.end_token_id]
        logits = np.array(model(np.array([ids]))[0, -1], "float64")
        shares = np.exp(logits) / np.exp(logits).sum()
        candidates = model.next_tokens(prompt, k=5)
        order = np.argsort(-shares)[:5].tolist()
        assert [candidate.id for candidate in candidates] == order
        np.testing.assert_allclose([c.probability for c in candidates], shares[order], rtol=1e-4)
        assert candidates[0].text == model.tokenizer.decode([order[0]])
    everything = model.next_tokens("the", k=model.config.vocab_size)
    assert sum(candidate.probability for candidate in everything) == pytest.approx(1, abs=1e-5)


def test_bad_arguments_are_refused(model):
    with pytest.raises(ValueError, match=rf"vocab_size={model.config.vocab_size}. Received: k=0"):
        model.next_tokens("a", k=0)
    with pytest.raises(ValueError, match="Received: k=9999"):
        model.next_tokens("a", k=9999)
    with pytest.raises(TypeError, match="Received: int"):
        model.next_tokens(3)
    with pytest.raises(ValueError, match=r"text 1 with \d+ tokens, context_length=32"):
        model.score(["a", "zq" * 40])
    with pytest.raises(TypeError, match="Received: bytes"):
        model.score([b"a"])
