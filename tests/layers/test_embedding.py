import numpy as np
import pytest

from gpt2_keras.layers import PositionEmbedding
from gpt2_keras.layers.embedding import sinusoids


def test_sinusoids_are_those_of_the_transformer_paper():
    table = sinusoids(50, 6)
    for position in (0, 1, 7, 49):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert table[position, 2 * i] == pytest.approx(np.sin(angle), abs=1e-6)
            assert table[position, 2 * i + 1] == pytest.approx(np.cos(angle), abs=1e-6)


def test_sinusoidal_positions_are_not_trained():
    layer = PositionEmbedding(8, 4, kind="sinusoidal")
    layer.build()
    assert layer.trainable_weights == []
    np.testing.assert_array_equal(layer(np.array([[3, 0]]))[0], sinusoids(8, 4)[[3, 0]])


def test_learned_positions_begin_with_the_published_spread():
    layer = PositionEmbedding(200, 200)
    layer.build()
    assert np.std(layer.embeddings) == pytest.approx(0.01, rel=0.03)  # 0.5 % is one deviation
    assert len(layer.trainable_weights) == 1


def test_an_unknown_kind_is_an_error():
    with pytest.raises(ValueError, match=r"^kind='rotary' is unknown. Use one of 'learned',"):
        PositionEmbedding(8, 4, kind="rotary")


def test_the_layer_is_rebuilt_from_its_config():
    layer = PositionEmbedding(8, 4, kind="sinusoidal", name="p")
    assert PositionEmbedding.from_config(layer.get_config()).get_config() == layer.get_config()
