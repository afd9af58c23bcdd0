import numpy as np
import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.understanding import find_heads
from tests.models import random_model

CONFIG = GPT2Config(
    vocab_size=40, context_length=41, num_layers=2, num_heads=2, hidden_dim=64, dropout_rate=0.0
)


@pytest.fixture
def planted():
    """A model with a head of each kind, made by hand.

    Positions are one-hot of 41 numbers, with nothing of the tokens: a head that reads position
    p - d of the keys at position p attends d tokens back.
    """
    model = random_model(CONFIG, scale=0.0)
    positions = np.zeros((41, 64), "float32")
    positions[np.arange(41), np.arange(41)] = 8.0
    model.position_embedding.embeddings.assign(positions)
    return model


def attend_back(model, layer, head, distance):
    """Has a head attend so many tokens back."""
    attention = model.decoder.blocks[layer].attention
    kernel = np.asarray(attention.qkv.kernel).copy()  # (3 × width, width)
    size = 32
    queries, keys = head * size, 64 + head * size
    # 41 positions in 32 numbers: random directions, of which those of one position agree.
    directions = np.random.default_rng(0).normal(size=(41, size)).astype("float32")
    for position in range(41):
        kernel[keys : keys + size, position] = directions[position]
        if position + distance < 41:
            kernel[queries : queries + size, position + distance] = directions[position]
    attention.qkv._kernel.assign(kernel)


@pytest.mark.parametrize(
    ("kind", "distance"), [("previous_token", 1), ("duplicate_token", 20), ("induction", 19)]
)
def test_a_planted_head_is_found_with_its_kind(planted, kind, distance):
    attend_back(planted, 1, 0, distance)
    found = find_heads(planted)
    best, score = found.top(kind)[0]
    assert best == "1.0"
    assert score > 0.5
    others = {"previous_token", "duplicate_token", "induction"} - {kind}
    assert all(getattr(found, other).max() < 0.2 for other in others)


def test_scores_have_every_head_and_the_best_come_first():
    found = find_heads(random_model())
    for kind in ("previous_token", "duplicate_token", "induction"):
        scores = getattr(found, kind)
        assert scores.shape == (2, 2)
        top = found.top(kind, k=3)
        assert len(top) == 3
        assert top[0][1] == pytest.approx(scores.max())
        assert top[0][1] >= top[1][1] >= top[2][1]


def test_the_seed_decides_the_tokens():
    model = random_model()
    first, again, other = (find_heads(model, seed=seed).induction for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_a_short_context_and_a_wrong_seed_are_told():
    config = GPT2Config(**{**CONFIG.to_dict(), "context_length": 4})
    with pytest.raises(ValueError, match="context_length=4 is too short"):
        find_heads(random_model(config))
    with pytest.raises(ValueError, match="seed=-1"):
        find_heads(random_model(), seed=-1)
    with pytest.raises(ValueError, match="pattern='copying'"):
        find_heads(random_model()).top("copying")
    with pytest.raises(ValueError, match="k=0"):
        find_heads(random_model()).top("induction", k=0)
    with pytest.raises(TypeError, match=r"seed=0\.5"):
        find_heads(random_model(), seed=0.5)
