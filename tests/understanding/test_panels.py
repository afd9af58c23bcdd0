import numpy as np
import pytest

from gpt2_keras.understanding import ablate, attribute, explore
from gpt2_keras.understanding.panels import targets_of, with_panels
from tests.models import random_model, text_model

TEXT = "the cat sat on the log"


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


@pytest.fixture(scope="module")
def exploration(model):
    return explore(model, TEXT)


def test_every_prediction_is_attributed_as_by_itself(model, exploration):
    panels = with_panels(model, exploration).panels
    ids = exploration.token_ids
    targets = targets_of(exploration)
    assert targets.tolist() == [*ids[1:], exploration.candidate_ids[-1, 0]]
    assert panels.positions.tolist() == list(range(len(ids)))
    for position in panels.positions:
        alone = attribute(model, ids[: position + 1], int(targets[position]))
        own = panels.attributions[position, : position + 1]
        np.testing.assert_allclose(own, alone.values, rtol=0, atol=1e-4)
        assert not panels.attributions[position, position + 1 :].any()
        foil = int(panels.foils[position])
        best = exploration.candidate_ids[position]
        assert foil == (best[1] if best[0] == targets[position] else best[0])
        against = attribute(model, ids[: position + 1], int(targets[position]), foil)
        contrast = panels.contrasts[position, : position + 1]
        np.testing.assert_allclose(contrast, against.values, rtol=0, atol=1e-4)


def test_every_head_is_ablated_as_by_itself(model, exploration):
    found = with_panels(model, exploration, mode="zero")
    panels = found.panels
    assert panels.mode == "zero"
    for layer, head in np.ndindex(2, 2):
        alone = ablate(model, TEXT, (layer, head), "zero")
        np.testing.assert_allclose(
            panels.ablated_log_probs[layer, head, :-1], alone.log_probs[1:], atol=1e-4
        )
        np.testing.assert_array_equal(
            panels.ablated_ids[layer, head, :, 0], alone.candidate_ids[:, 0]
        )
    named = {*panels.ablated_ids.ravel().tolist(), *panels.foils.tolist()}
    assert named <= set(found.vocabulary)


def test_positions_a_foil_and_progress(model, exploration):
    done = []
    foil = model.tokenizer.encode(" on")[0]
    found = with_panels(
        model,
        exploration,
        positions=[2, 1],
        foil=" on",
        method="occlusion",
        on_progress=lambda *how_many: done.append(how_many),
    ).panels
    assert found.positions.tolist() == [2, 1]
    assert found.method == "occlusion"
    targets = targets_of(exploration)
    assert (found.foils[targets != foil] == foil).all()
    assert (found.foils[targets == foil] != foil).all()
    assert done[-1] == (4 + 4, 4 + 4)
    assert [each for each, _ in done] == sorted(each for each, _ in done)


def test_a_model_without_tokenizer_and_one_token(model):
    bare = random_model()
    found = with_panels(bare, explore(bare, [5], k=1))
    assert found.panels.attributions.shape == (1, 1)
    assert found.vocabulary == {}


def test_wrong_arguments_are_told(model, exploration):
    count = len(exploration.token_ids)
    with pytest.raises(ValueError, match=rf"positions\[1\]={count}"):
        with_panels(model, exploration, positions=[0, count])
    with pytest.raises(ValueError, match="foil='catdog' is"):
        with_panels(model, exploration, foil="catdog")
    with pytest.raises(ValueError, match="mode='median'"):
        with_panels(model, exploration, mode="median")
    with pytest.raises(ValueError, match="method='lime'"):
        with_panels(model, exploration, method="lime")
