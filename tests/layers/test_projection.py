import keras
import numpy as np

from gpt2_keras.layers.projection import Projection

RANDOM = np.random.default_rng(0)
# Sums of 5 products, each below 16.
TOLERANCE = 16 * 5 * np.finfo("float32").eps


def test_a_projection_is_keras_dense_with_its_kernel_transposed():
    x = RANDOM.normal(size=(2, 3, 5)).astype("float32")
    projection, dense = Projection(7), keras.layers.Dense(7)
    projection(x)
    dense(x)
    dense.set_weights([projection.get_weights()[0].T, RANDOM.normal(size=7)])
    projection.bias.assign(dense.bias)
    np.testing.assert_allclose(projection(x), dense(x), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(projection(x, training=True), dense(x), rtol=0, atol=TOLERANCE)
    copy = Projection.from_config(projection.get_config())
    assert (copy.units, copy.name) == (7, projection.name)


def test_a_projection_takes_lora():
    x = RANDOM.normal(size=(2, 3, 5)).astype("float32")
    projection = Projection(7)
    before = np.array(projection(x))
    projection.enable_lora(2)
    # LoRA's B is zero at first.
    np.testing.assert_allclose(projection(x), before, rtol=0, atol=TOLERANCE)
    projection.lora_kernel_b.assign(np.ones(projection.lora_kernel_b.shape))
    assert np.abs(np.array(projection(x)) - before).max() > 1e-3
