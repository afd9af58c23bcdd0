"""The fused functions against the formulas that they stand for, forward and backward."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from gpt2_keras.layers import CausalSelfAttention
from gpt2_keras.layers.attention import attend
from gpt2_keras.layers.initializers import LAYER_NORM_EPSILON
from gpt2_keras.layers.kernels import fused
from gpt2_keras.layers.masks import MASKED_SCORE, causal_mask
from gpt2_keras.layers.normalization import LayerNorm
from tests.bfloat16 import needs_bfloat16

RANDOM = np.random.default_rng(0)
# Of a float32, and of a bfloat16 with its 8 bits.
TOLERANCES = {"float32": 3e-6, "bfloat16": 0.04}
DTYPES = ["float32", pytest.param("bfloat16", marks=needs_bfloat16)]


def gradients(function, inputs, output_gradient):
    """What a function returns, and its gradients."""
    tensors = [ops.convert_to_tensor(values) for values in inputs]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = function(*tensors)
    return [outputs, *tape.gradient(outputs, tensors, output_gradients=output_gradient)]


def assert_same(ours, theirs, tolerance):
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        mine, other = (
            ops.convert_to_numpy(ops.cast(values, "float32")) for values in (mine, other)
        )
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_and_its_gradient_are_keras_own(dtype):
    x = ops.cast(np.linspace(-9, 9, 700).reshape(7, 100), dtype)
    output_gradient = ops.cast(RANDOM.normal(size=(7, 100)), dtype)
    ours = gradients(fused.gelu, [x], output_gradient)
    theirs = gradients(lambda x: ops.gelu(x, approximate=True), [x], output_gradient)
    assert_same(ours, theirs, TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_norm_and_its_gradients_are_keras_own(dtype):
    x = ops.cast(RANDOM.normal(2, 3, size=(2, 5, 16)), dtype)
    output_gradient = ops.cast(RANDOM.normal(size=(2, 5, 16)), dtype)
    gamma, beta = (ops.cast(RANDOM.normal(size=16), dtype) for _ in range(2))

    def plain(x, gamma, beta):
        return ops.layer_normalization(x, gamma, beta, epsilon=LAYER_NORM_EPSILON)

    ours = gradients(
        lambda x, gamma, beta: fused.layer_norm(x, gamma, beta, LAYER_NORM_EPSILON),
        [x, gamma, beta],
        output_gradient,
    )
    assert_same(ours, gradients(plain, [x, gamma, beta], output_gradient), TOLERANCES[dtype] * 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_and_its_gradients_are_those_of_the_formula(dtype):
    q, k, v, output_gradient = (ops.cast(RANDOM.normal(size=(2, 3, 5, 4)), dtype) for _ in range(4))
    mask = causal_mask(5, 5)
    bias = ops.where(mask, 0.0, MASKED_SCORE)

    def plain(q, k, v):
        return attend(q, k, v, mask, lambda weights: weights)

    ours = gradients(lambda q, k, v: fused.attend(q / 2, k, v, bias), [q, k, v], output_gradient)
    assert_same(ours, gradients(plain, [q, k, v], output_gradient), TOLERANCES[dtype])


def test_a_layer_attends_in_training_as_elsewhere():
    layer = CausalSelfAttention(num_heads=2)
    x = ops.convert_to_tensor(RANDOM.normal(size=(2, 5, 8)).astype("float32"))
    layer.build(x.shape)
    layer.qkv.kernel.assign(20 * layer.qkv.kernel)  # scores far from 0
    ours = gradients(lambda x: layer(x, training=True), [x], x)
    assert_same(ours, gradients(layer, [x], x), 1e-5)


def test_the_layer_computes_the_same_in_training():
    layer = LayerNorm()
    x = RANDOM.normal(size=(2, 3, 8)).astype("float32")
    before = layer(x)
    np.testing.assert_allclose(layer(x, training=True), before, rtol=0, atol=1e-6)
    assert layer.epsilon == LAYER_NORM_EPSILON


def test_a_norm_without_a_shift_trains_too():
    x = RANDOM.normal(size=(2, 3, 8)).astype("float32")
    layer = LayerNorm(center=False)
    np.testing.assert_allclose(layer(x, training=True), layer(x), rtol=0, atol=1e-6)


def test_float64_stays_float64():
    x = RANDOM.normal(size=(2, 8))
    y = fused.gelu(ops.convert_to_tensor(x, "float64"))
    expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
