import keras
import numpy as np
import pytest
from keras import ops

from gpt2_keras.layers import CausalSelfAttention, DecoderBlock, DecoderStack, FeedForward
from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.layers.masks import causal_mask

EPSILON = np.finfo("float32").eps  # 1.2e-7


def inputs(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_a_later_token_never_changes_an_earlier_output():
    x = inputs(1, 6, 8)
    changed = x.copy()
    changed[:, 4:] += 1.0
    keras.utils.set_random_seed(0)
    layer = CausalSelfAttention(num_heads=2)
    layer.build(x.shape)
    for kernel in (layer.qkv.kernel, layer.output_projection.kernel):
        kernel.assign(10 * kernel)  # large weights, so that a change is seen
    before, after = np.array(layer(x)), np.array(layer(changed))
    # Outputs are below 4 and sums of at most 8 × 8 products: 8 roundings of that size each.
    np.testing.assert_allclose(before[:, :4], after[:, :4], rtol=0, atol=4 * 8 * EPSILON)
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-3  # the change is seen where it may be


def test_equal_keys_make_attention_the_mean_of_the_values_so_far():
    layer = CausalSelfAttention(num_heads=1)
    layer.build((None, None, 2))
    kernel = np.zeros((2, 6), "float32")
    kernel[:, 4:] = np.eye(2)  # queries and keys are 0, values the input
    layer.qkv.kernel.assign(kernel.T)
    layer.output_projection.kernel.assign(np.eye(2))
    x = inputs(1, 5, 2)
    means = np.cumsum(x, axis=1) / np.arange(1, 6)[None, :, None]
    # Means of up to 5 numbers below 3: a rounding for each term and one for each weight.
    np.testing.assert_allclose(layer(x), means, rtol=0, atol=3 * 10 * EPSILON)


def test_padding_is_never_attended_to():
    x = inputs(2, 5, 8)
    changed = x.copy()
    changed[0, :2] = 9.0  # row 0 begins with two positions of padding
    padding_mask = np.array([[False, False, True, True, True], [True] * 5])
    mask = causal_mask(5, 5, padding_mask=padding_mask)
    layer = CausalSelfAttention(num_heads=2)
    before = np.array(layer(x, attention_mask=mask))
    after = np.array(layer(changed, attention_mask=mask))
    # Masked keys weigh exactly 0, so only products of other rows may be ordered differently.
    np.testing.assert_allclose(before[0, 2:], after[0, 2:], rtol=0, atol=8 * EPSILON)
    assert np.isfinite(before).all()  # a row with no key to attend to as well


def test_the_cache_is_written_at_its_slots_and_nowhere_else():
    layer = CausalSelfAttention(num_heads=2)
    x = inputs(1, 2, 8)
    cache = (ops.ones((1, 2, 6, 4)), ops.ones((1, 2, 6, 4)))
    slots = current_kernels().cache_slots(cache, time=2, index=3)
    mask = causal_mask(2, 6, first=3)
    _, (keys, values) = layer(x, attention_mask=mask, cache=cache, slots=slots)
    assert np.array(cache[0]).min() == np.array(cache[1]).min() == 1  # as it was
    qkv = np.array(layer.qkv(x))
    expected = np.ones((2, 2, 6, 4), "float32")
    expected[:, :, 3:5] = qkv[0].reshape(2, 3, 2, 4).transpose(1, 2, 0, 3)[1:]
    # The same projection twice, of values below 1.
    np.testing.assert_allclose(np.stack([keys[0], values[0]]), expected, atol=8 * EPSILON)


def test_the_scores_of_float16_stay_finite():
    layer = CausalSelfAttention(num_heads=1, dtype="mixed_float16")
    x = 10 * inputs(1, 4, 64)
    layer.build(x.shape)
    layer.qkv.kernel.assign(np.tile(np.eye(64), (3, 1)) * 4)
    # Unscaled, |q · k| is about 64 × 40² = 102,400, beyond float16's 65,504.
    assert np.isfinite(np.array(layer(x), "float32")).all()


def test_heads_that_do_not_divide_the_width_are_an_error():
    with pytest.raises(
        ValueError, match=r"^num_heads=3 does not divide the width 8\. Use, .* num_heads=1\.$"
    ):
        CausalSelfAttention(num_heads=3)(inputs(1, 2, 8))


def test_feed_forward_has_the_tanh_form_of_gelu():
    layer = FeedForward(intermediate_dim=1)
    layer.build((None, None, 1))
    layer.expand.kernel.assign([[1.0]])
    layer.project.kernel.assign([[1.0]])
    x = np.linspace(-4, 4, 41, dtype="float32").reshape(1, -1, 1)
    tanh_form = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    # A handful of roundings of numbers up to 4; the exact form differs by up to 5e-4.
    np.testing.assert_allclose(layer(x), tanh_form, rtol=0, atol=4 * 8 * EPSILON)


@pytest.mark.parametrize(
    "layer",
    [
        CausalSelfAttention(2, 0.1, 4, name="a"),
        FeedForward(16, 0.2, 6, name="b"),
        DecoderBlock(2, 16, 0.1, 4, name="c"),
        DecoderStack(2, 2, 16, 0.1, name="d"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_is_rebuilt_from_its_config(layer):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    shape = (None, None, 8)
    layer.build(shape)
    copy.build(shape)
    copy.set_weights(layer.get_weights())
    x = inputs(2, 3, 8)
    first, second = layer(x), copy(x)
    if isinstance(layer, DecoderStack):
        first, second = first[0][-1], second[0][-1]
    np.testing.assert_allclose(first, second, rtol=0, atol=4 * 8 * EPSILON)
