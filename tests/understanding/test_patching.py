import numpy as np
import pytest

from gpt2_keras.understanding import edit, patch, record
from gpt2_keras.understanding.patching import SITES
from tests.models import random_ids, random_model, text_model

CLEAN, CORRUPTED = random_ids((6,)), random_ids((6,), seed=1)
ANSWER, FOIL = 5, 9
NAMES = {
    "resid": "hook_resid_pre",
    "attn": "hook_attn_out",
    "mlp": "hook_mlp_out",
    "head": "attn.hook_z",
}


@pytest.fixture(scope="module")
def model():
    return random_model()


def difference(model, ids):
    logits = np.array(model(ids[None]))[0, -1]
    return logits[ANSWER] - logits[FOIL]


@pytest.mark.parametrize("sites", SITES)
@pytest.mark.parametrize("at_once", [1, 4096])
def test_each_value_is_a_run_with_one_activation_of_the_clean_text(
    model, sites, at_once, monkeypatch
):
    monkeypatch.setattr("gpt2_keras.understanding.patching._TOKENS_AT_ONCE", at_once)
    done = []
    found = patch(
        model, CLEAN, CORRUPTED, ANSWER, FOIL, sites, on_progress=lambda *n: done.append(n)
    )
    assert done == [(1, 2), (2, 2)]
    clean, corrupted = difference(model, CLEAN), difference(model, CORRUPTED)
    assert found.clean == pytest.approx(clean, abs=1e-4)
    assert found.corrupted == pytest.approx(corrupted, abs=1e-4)
    assert found.values.shape == (2, 2 if sites == "head" else 6)
    for layer, index in np.ndindex(*found.values.shape):
        name = f"blocks.{layer}.{NAMES[sites]}"
        own = record(model, CLEAN, name)[name]

        def function(value, _, own=own, index=index):
            value = np.array(value)
            where = (slice(None), slice(None), index) if sites == "head" else (slice(None), index)
            value[where] = own[where]
            return value

        with edit(model, {name: function}):
            expected = (difference(model, CORRUPTED) - corrupted) / (clean - corrupted)
        assert found.values[layer, index] == pytest.approx(expected, abs=1e-3)


def test_patching_every_site_gives_the_clean_run_bit_for_bit(model):
    names = ["hook_embed", "blocks.*.hook_resid_pre", "blocks.*.hook_mlp_out"]
    own = record(model, CLEAN, names)
    with edit(model, {name: lambda value, _, own=value: own for name, value in own.items()}):
        np.testing.assert_array_equal(model(CORRUPTED[None]), model(CLEAN[None]))


def test_the_last_position_decides_in_the_end_and_a_changed_one_in_the_beginning(model):
    changed = CLEAN.copy()
    changed[2] = (changed[2] + 1) % 300
    found = patch(model, CLEAN, changed, ANSWER, FOIL)
    # Before the first layer the texts differ in one position only.
    assert found.values[0, 2] == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(np.delete(found.values[0], 2), 0, atol=1e-4)
    # What comes before the change never differs.
    np.testing.assert_allclose(found.values[:, :2], 0, atol=1e-4)


def test_texts_are_taken_with_their_tokens():
    model = text_model()
    found = patch(model, "the cat sat", "the sat sat", " on", " the", "head")
    assert found.tokens[0] == "<|endoftext|>"
    assert found.values.shape == (2, 2)
    assert found.sites == "head"


def test_wrong_arguments_are_told(model):
    texts = text_model()
    with pytest.raises(ValueError, match="clean has 6 tokens and corrupted 5"):
        patch(model, CLEAN, CORRUPTED[:5], ANSWER, FOIL)
    with pytest.raises(ValueError, match="answer=5 and foil=5 differ by 0 after both texts"):
        patch(model, CLEAN, CORRUPTED, 5, 5)
    with pytest.raises(ValueError, match=r"differ by \S+ after both texts"):
        patch(model, CLEAN, CLEAN, ANSWER, FOIL)
    with pytest.raises(ValueError, match="sites='neuron'"):
        patch(model, CLEAN, CORRUPTED, ANSWER, FOIL, "neuron")
    with pytest.raises(ValueError, match="answer='catdog' is"):
        patch(texts, "the cat", "the sat", "catdog", " the")
    with pytest.raises(ValueError, match="corrupted='' has no token"):
        patch(texts, "the cat", "", " on", " the")
