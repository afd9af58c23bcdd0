import numpy as np
import pytest

from gpt2_keras.understanding import ablate, edit, explore, head_importance, record
from gpt2_keras.understanding.ablation import MODES, ablate_each
from gpt2_keras.understanding.panels import targets_of
from tests.models import random_ids, text_model

TEXT = "the cat sat on the log"
IDS = random_ids((7,))


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


def replaced(model, ids, head, mode, reference):
    """What the head gives instead, (time, head_dim), computed by itself."""
    name = "blocks.1.attn.hook_z"
    z = record(model, reference, name)[name][0, :, head]
    if mode == "zero":
        return np.zeros((len(ids), z.shape[1]), "float32")
    if mode == "mean":
        return np.repeat(z.mean(axis=0)[None], len(ids), axis=0)
    return z[np.random.default_rng(3).integers(0, len(reference), len(ids))]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reference", [None, "a dog on the mat"])
def test_a_head_gives_something_else_and_the_others_what_they_gave(model, mode, reference):
    whole = explore(model, TEXT)
    ids = whole.token_ids
    other = ids if reference is None else explore(model, reference).token_ids
    instead = replaced(model, ids, 0, mode, other)

    def function(value, _):
        value = np.array(value)
        value[:, :, 0] = instead
        return value

    with edit(model, {"blocks.1.attn.hook_z": function}):
        expected = explore(model, TEXT)
    found = ablate(model, TEXT, "1.0", mode, reference=reference, seed=3)
    np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-5)
    np.testing.assert_array_equal(found.candidate_ids, expected.candidate_ids)
    np.testing.assert_array_equal(found.attention[0], whole.attention[0])
    assert np.nanmax(np.abs(found.log_probs - whole.log_probs)) > 1e-3


def test_several_heads_go_together_however_they_are_named(model):
    expected = ablate(model, TEXT, ["0.1", "1.0", "1.1"]).log_probs
    for heads in ([(0, 1), (1, 0), (1, 1)], ["0.1", (1, 0), " 1.1 "]):
        np.testing.assert_array_equal(ablate(model, TEXT, heads).log_probs, expected)
    np.testing.assert_array_equal(
        ablate(model, TEXT, (1, 0)).log_probs, ablate(model, TEXT, "1.0").log_probs
    )
    whole = explore(model, TEXT).log_probs
    np.testing.assert_array_equal(ablate(model, TEXT, []).log_probs, whole)


def test_ids_and_options_of_explore_are_taken(model):
    found = ablate(model, IDS, "0.0", k=3, layers=[1])
    assert found.token_ids.tolist() == IDS.tolist()
    assert found.candidate_ids.shape == (7, 3)
    assert found.layers == (1,)
    bare = ablate(model, TEXT, "0.0", start_token=False)
    assert len(bare.token_ids) == len(model.tokenizer.encode(TEXT))


@pytest.mark.parametrize("mode", MODES)
def test_every_head_in_turn_is_as_each_by_itself(model, mode, monkeypatch):
    monkeypatch.setattr("gpt2_keras.understanding.ablation._LOGITS_BYTES", 1)
    whole = explore(model, TEXT)
    done = []
    log_probs, best, probs = ablate_each(
        model,
        whole.token_ids,
        targets_of(whole),
        mode,
        k=3,
        on_progress=lambda *how_many: done.append(how_many),
    )
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for layer, head in np.ndindex(2, 2):
        alone = ablate(model, TEXT, (layer, head), mode, k=3)
        np.testing.assert_allclose(log_probs[layer, head, :-1], alone.log_probs[1:], atol=1e-5)
        np.testing.assert_array_equal(best[layer, head], alone.candidate_ids)
        np.testing.assert_allclose(probs[layer, head], alone.candidate_probs, atol=1e-5)


def test_heads_are_ablated_several_at_once(model):
    whole = explore(model, TEXT)
    together = ablate_each(model, whole.token_ids, targets_of(whole))[0]
    for layer, head in np.ndindex(2, 2):
        alone = ablate(model, TEXT, (layer, head)).log_probs[1:]
        np.testing.assert_allclose(together[layer, head, :-1], alone, rtol=0, atol=1e-4)


def mean_loss(model, text):
    return -np.nanmean(explore(model, text).log_probs)


def test_importance_by_gradient_is_that_of_central_differences(model):
    texts = [TEXT, "it's 42 o'clock!"]
    found = head_importance(model, texts)
    step = 1e-2
    for layer, head in np.ndindex(2, 2):
        gradients = []
        for text in texts:
            losses = []
            for sign in (1, -1):
                gate = np.ones((2, 1), "float32")
                gate[head] += sign * step

                with edit(model, {f"blocks.{layer}.attn.hook_z": lambda z, _, g=gate: z * g}):
                    losses.append(mean_loss(model, text))
            gradients.append(abs(losses[0] - losses[1]) / (2 * step))
        # Losses of 6 are off by 1e-6, which a step of 1e-2 makes 1e-4; the curve is as much.
        assert found[layer, head] == pytest.approx(np.mean(gradients), abs=2e-3)
    assert found.min() > 0


def test_exact_importance_is_the_rise_of_the_loss(model):
    texts = [TEXT, "it's 42 o'clock!"]
    done = []
    found = head_importance(
        model, texts, "exact", on_progress=lambda *how_many: done.append(how_many)
    )
    assert done == [(1, 2), (2, 2)]
    for layer, head in np.ndindex(2, 2):
        rises = [
            -np.nanmean(ablate(model, text, (layer, head), "zero").log_probs)
            - mean_loss(model, text)
            for text in texts
        ]
        assert found[layer, head] == pytest.approx(np.mean(rises), abs=1e-4)


@pytest.mark.parametrize(
    ("heads", "error", "message"),
    [
        ("2.0", ValueError, r"heads='2.0' is no head of this model.*layers to 1, heads to 1"),
        ("0.2", ValueError, "heads='0.2' is no head"),
        ("0", ValueError, "heads='0' is no head"),
        ([(0, -1)], ValueError, r"heads=\(0, -1\) is no head"),
        ([(0, 1, 1)], ValueError, r"heads=\(0, 1, 1\) is no head"),
        ([(0, 1.5)], TypeError, "heads=1.5 is a float"),
        ([3.5], TypeError, "heads=3.5 is a float"),
    ],
)
def test_a_head_that_is_not_there_is_told(model, heads, error, message):
    with pytest.raises(error, match=message):
        ablate(model, TEXT, heads)


def test_wrong_modes_and_methods_are_told(model):
    with pytest.raises(ValueError, match="mode='median'"):
        ablate(model, TEXT, "0.0", "median")
    with pytest.raises(TypeError, match="mode is None"):
        ablate(model, TEXT, "0.0", None)
    with pytest.raises(ValueError, match="seed=-1"):
        ablate(model, TEXT, "0.0", "resample", seed=-1)
    with pytest.raises(ValueError, match="reference='' has no token"):
        ablate(model, TEXT, "0.0", reference="")
    with pytest.raises(ValueError, match="method='saliency'"):
        head_importance(model, TEXT, "saliency")
    with pytest.raises(ValueError, match="mode='median'"):
        head_importance(model, TEXT, "exact", mode="median")
    with pytest.raises(ValueError, match=r"texts\[1\]='' has no token"):
        head_importance(model, [TEXT, ""])
