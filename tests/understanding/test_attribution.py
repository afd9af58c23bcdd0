import numpy as np
import pytest

from gpt2_keras.layers.kernels.portable import Kernels
from gpt2_keras.understanding import attribute, edit
from gpt2_keras.understanding.attribution import METHODS
from tests import reference
from tests.bfloat16 import needs_bfloat16
from tests.models import TINY, random_ids, random_model, text_model, weights_of

IDS = random_ids((7,))
TARGET, FOIL = 40, 41


@pytest.fixture(scope="module")
def model():
    return random_model()


def oracle_score(weights, embeddings, foil):
    """The score in float64, of token embeddings (time, width): those of a vocabulary of them."""
    changed = dict(weights)
    time = len(embeddings)
    # Rows beyond the vocabulary hold the embeddings, so that the ids are those rows.
    table = weights["transformer.wte.weight"].astype("float64")
    changed["transformer.wte.weight"] = np.concatenate([table, embeddings])
    ids = np.arange(len(table), len(table) + time)[None]
    logits = reference.logits(changed, ids, TINY.num_heads)[0, -1, : len(table)]
    if foil is not None:
        return logits[TARGET] - logits[foil]
    return logits[TARGET] - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


def oracle_gradient(weights, embeddings, foil, step=1e-5):
    """Central differences, in float64: off by step², 1e-10 times the third derivative."""
    gradient = np.zeros_like(embeddings)
    for index in np.ndindex(embeddings.shape):
        up, down = embeddings.copy(), embeddings.copy()
        up[index] += step
        down[index] -= step
        difference = oracle_score(weights, up, foil) - oracle_score(weights, down, foil)
        gradient[index] = difference / (2 * step)
    return gradient


@pytest.mark.parametrize("foil", [None, FOIL])
def test_gradients_and_occlusion_equal_the_oracles(model, foil):
    weights = weights_of(model)
    embeddings = weights["transformer.wte.weight"][IDS].astype("float64")
    gradient = oracle_gradient(weights, embeddings, foil)
    score = oracle_score(weights, embeddings, foil)
    occluded = []
    for position in range(len(IDS)):
        without = embeddings.copy()
        without[position] = 0
        occluded.append(score - oracle_score(weights, without, foil))
    expected = {
        "input_x_gradient": (gradient * embeddings).sum(axis=1),
        "gradient_norm": np.sqrt((gradient**2).sum(axis=1)),
        "occlusion": occluded,
    }
    for method, values in expected.items():
        found = attribute(model, IDS, TARGET, foil, method)
        assert found.score == pytest.approx(score, abs=1e-4)
        # Gradients pass the roundings of the forward pass twice; see ROUNDING in test_model.py.
        np.testing.assert_allclose(found.values, values, rtol=0, atol=1e-4)
        assert (found.target, found.foil, found.method) == (TARGET, foil, method)
        assert found.tokens == [f"[{each}]" for each in IDS]


@pytest.mark.parametrize("foil", [None, FOIL])
def test_integrated_gradients_add_up_to_the_score_minus_the_baselines(model, foil):
    found = attribute(model, IDS, TARGET, foil, "integrated_gradients", steps=1000)
    with edit(model, {"hook_embed": lambda value, _: 0 * value}):
        baseline = attribute(model, IDS, TARGET, foil, "occlusion")
    weights = weights_of(model)
    zero = oracle_score(weights, np.zeros((len(IDS), TINY.hidden_dim)), foil)
    # Near 0 the norms turn quickly, which midpoints of 1000 intervals follow to 2 %.
    assert found.values.sum() == pytest.approx(found.score - zero, rel=0.02)
    assert baseline.score == pytest.approx(found.score, abs=1e-4)  # its own observer comes last


def test_integrated_gradients_equal_the_oracles(model):
    weights = weights_of(model)
    embeddings = weights["transformer.wte.weight"][IDS].astype("float64")
    steps = 3
    gradients = [
        oracle_gradient(weights, embeddings * (index + 0.5) / steps, FOIL) for index in range(steps)
    ]
    expected = (embeddings * np.mean(gradients, axis=0)).sum(axis=1)
    found = attribute(model, IDS, TARGET, FOIL, "integrated_gradients", steps=steps)
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-3)


def test_a_foil_is_the_difference_of_two_logits_and_gradients_are_linear(model):
    there = attribute(model, IDS, TARGET, FOIL)
    back = attribute(model, IDS, FOIL, TARGET)
    assert there.score == pytest.approx(-back.score, abs=1e-5)
    np.testing.assert_allclose(there.values, -back.values, rtol=0, atol=1e-5)


def test_texts_and_tokens_are_named_by_their_text():
    model = text_model()
    found = attribute(model, "the cat", " sat", " on")
    assert found.tokens == ["<|endoftext|>", *(model.tokenizer.decode([each]) for each in
                            model.tokenizer.encode("the cat"))]  # fmt: skip
    assert found.target == model.tokenizer.encode(" sat")[0]
    assert found.foil == model.tokenizer.encode(" on")[0]
    bare = attribute(model, "the cat", " sat", start_token=False)
    assert len(bare.values) == len(found.values) - 1
    assert attribute(model, "the cat", "<|endoftext|>").target == model.tokenizer.end_token_id


@needs_bfloat16
def test_a_model_of_half_precision_is_attributed_too():
    whole, half = random_model(), random_model(dtype="mixed_bfloat16")
    for method in METHODS:
        expected = attribute(whole, IDS, TARGET, FOIL, method).values
        found = attribute(half, IDS, TARGET, FOIL, method).values
        assert np.corrcoef(expected, found)[0, 1] > 0.9, method


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("", "a"), ValueError, "text='' has no token"),
        (("the", "catdog"), ValueError, r"target='catdog' is \d tokens, \['.*It must be one. Use"),
        (("the", "on"), ValueError, r"With a space before it, ' on', it is one"),
        (("the", ""), ValueError, "target='' is 0 tokens. It must be one. Use a token's text"),
        (("the", 280), ValueError, "target=280 is not in the vocabulary.*below vocab_size=280"),
        (("the", -1), ValueError, "target=-1"),
        (("the", 1.5), TypeError, "target=1.5 is of the type float"),
        (("the", True), TypeError, "target=True is of the type bool"),
        (("the", " cat", "catdog"), ValueError, "foil='catdog' is"),
        (("the", " cat", " cat"), ValueError, "target=' cat' and foil=' cat' are the same token"),
        (("the", " cat", None, "lime"), ValueError, "method='lime'"),
    ],
)
def test_wrong_arguments_are_told(arguments, error, message):
    with pytest.raises(error, match=message):
        attribute(text_model(), *arguments)


def test_another_backend_has_no_gradients():
    with pytest.raises(NotImplementedError, match=r"Keras runs on \w+\. Gradients are computed on"):
        Kernels().value_and_gradient(lambda x: x, np.zeros(1))


def test_wrong_steps_are_told(model):
    with pytest.raises(ValueError, match="steps=0"):
        attribute(model, IDS, TARGET, method="integrated_gradients", steps=0)
