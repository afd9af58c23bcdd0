"""Every kernel against the formula: TensorFlow's, LiteRT's and JAX' in the process of each."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras.layers.attention import attend
from gpt2_keras.layers.kernels import current_kernels, kernels_of, using_kernels
from gpt2_keras.layers.kernels.jax import JaxKernels
from gpt2_keras.layers.kernels.litert import LITERT, BlockCache
from gpt2_keras.layers.kernels.portable import Kernels
from gpt2_keras.layers.kernels.tensorflow import TensorFlowKernels
from gpt2_keras.layers.masks import causal_mask
from tests.models import TINY, random_ids, random_model

RANDOM = np.random.default_rng(0)
EPSILON = np.finfo("float32").eps  # 1.2e-7
KERNELS = [Kernels(), TensorFlowKernels(), LITERT]
every_kernel = pytest.mark.parametrize("kernels", KERNELS, ids=lambda it: type(it).__name__)


def normal(*shape):
    return RANDOM.normal(size=shape).astype("float32")


def no_dropout(weights):
    return weights


def example_cache():
    cache, new = normal(2, 2, 3, 7, 4), normal(2, 2, 3, 2, 4)  # keys and values first
    expected = cache.copy()
    expected[:, :, :, 4:6] = new
    return tuple(map(tf.constant, cache)), new, expected


@every_kernel
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_cache_is_updated_at_the_slots(kernels, overwrite):
    cache, new, expected = example_cache()
    cache = tuple(part + 0.0 for part in cache)  # memory of its own
    slots = kernels.cache_slots(cache, 2, 4)
    updated, keys, values = kernels.update_cache(cache, *new, slots, overwrite)
    np.testing.assert_array_equal(updated, expected)
    np.testing.assert_array_equal([keys, values], expected)


@every_kernel
def test_the_cache_that_was_given_is_left_alone(kernels):
    cache, new, _ = example_cache()
    before = np.array(cache)
    kernels.update_cache(cache, *new, kernels.cache_slots(cache, 2, 4), overwrite=False)
    np.testing.assert_array_equal(cache, before)


def test_tensorflow_updates_a_cache_in_place():
    cache, new, expected = example_cache()
    cache = tuple(part + 0.0 for part in cache)
    kernels = TensorFlowKernels()
    kernels.update_cache(cache, *new, kernels.cache_slots(cache, 2, 4), overwrite=True)
    np.testing.assert_array_equal(cache, expected)  # the same memory


@every_kernel
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("rows", [1, 8, 33])
def test_every_product_is_rows_times_the_transposed_kernel(kernels, training, rows):
    x, kernel = normal(rows, 5), normal(7, 5)
    expected = x.astype("float64") @ kernel.T.astype("float64")
    # Sums of 5 products, each product below 16.
    tolerance = 16 * 5 * EPSILON
    product = kernels.multiply(x, kernel, training)
    np.testing.assert_allclose(product, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(kernels.times_transposed(x, kernel), expected, atol=tolerance)


@every_kernel
@pytest.mark.parametrize("time", [1, 5])
def test_heads_are_split_and_merged(kernels, time):
    qkv = normal(2, time, 3 * 8)
    q, k, v = (np.array(part) for part in kernels.split_heads(tf.constant(qkv), 2))
    expected = qkv.reshape(2, time, 3, 2, 4).transpose(2, 0, 3, 1, 4)
    np.testing.assert_array_equal([q, k, v], expected)
    np.testing.assert_array_equal(kernels.merge_heads(tf.constant(q)), qkv[:, :, :8])


@every_kernel
def test_rows_of_a_table_are_looked_up(kernels):
    table, indices = normal(9, 4), np.array([[0, 8, 3], [3, 3, 1]])
    np.testing.assert_array_equal(kernels.look_up(tf.constant(table), indices), table[indices])
    embedding = keras.layers.ReversibleEmbedding(9, 4)
    embedding.build()
    embedding.embeddings.assign(table)
    np.testing.assert_array_equal(kernels.embed(embedding, tf.constant(indices)), table[indices])


@every_kernel
def test_a_loop_adds_up_what_its_steps_give(kernels):
    total = kernels.loop(tf.constant(5), lambda index, x: x + tf.cast(index, "int32"), 0)
    assert int(total) == 10


@every_kernel
def test_uninitialized_weights_have_shape_and_dtype(kernels):
    weights = kernels.uninitialized((2, 3), "float16")
    assert tuple(weights.shape) == (2, 3)
    assert keras.backend.standardize_dtype(weights.dtype) == "float16"


@every_kernel
def test_a_cache_mask_hides_later_keys_and_padding(kernels):
    cache = (np.zeros((2, 1, 6, 4)), np.zeros((2, 1, 6, 4)))
    padding = np.array([[False] + [True] * 5, [True] * 6])
    mask = np.array(kernels.cache_mask(2, cache, 3, padding))
    np.testing.assert_array_equal(mask[1, 0], [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]])
    np.testing.assert_array_equal(mask[0, 0], [[0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 0]])


@pytest.mark.parametrize("time", [1, 3])
def test_litert_attends_by_the_formula(time):
    q, k, v = normal(1, 2, time, 4), normal(1, 2, 6, 4), normal(1, 2, 6, 4)
    mask = causal_mask(time, 6, first=6 - time)
    ours = LITERT.attend(q, k, v, mask, no_dropout)
    theirs = attend(q, k, v, mask, no_dropout)
    # Weights that add up to 1, of values below 4: a rounding for each of 6 keys, and as many
    # of each of 4 products below 16 in a score.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=4 * (6 + 16 * 4) * EPSILON)


@pytest.mark.parametrize("time", [1, 3])
def test_a_block_cache_gives_the_attention_of_one_cache(time):
    past, block = normal(2, 1, 2, 8, 4), normal(2, 1, 2, 4, 4)  # keys and values first
    q, new = normal(1, 2, time, 4), normal(2, 1, 2, time, 4)
    index = 4  # the block holds positions 4 to 7; the past has those before
    cache = BlockCache(*past, *block)
    slots = LITERT.cache_slots(cache, time, index)
    updated, keys, values = LITERT.update_cache(cache, *new, slots, overwrite=False)
    mask = LITERT.cache_mask(time, cache, index, None)
    ours = LITERT.attend(q, keys, values, mask, no_dropout)

    whole = past.copy()
    whole[:, :, :, index : index + time] = new
    theirs = attend(q, *whole, causal_mask(time, 8, first=index), no_dropout)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=4 * (12 + 16 * 4) * EPSILON)
    np.testing.assert_array_equal(np.array(updated.keys)[:, :, :time], new[0])
    np.testing.assert_array_equal(updated.past_keys, past[0])  # only read


def test_a_model_computes_the_same_with_litert_kernels():
    model, ids = random_model(), random_ids((1, 9))
    expected = np.array(model(ids))
    with using_kernels(LITERT):
        assert current_kernels() is LITERT
        found = np.array(model(ids))
        cache = model.make_cache(1, 12)
        cached, _ = model(ids, cache=cache)
    # Logits up to 10 in size, through 2 blocks of some 40 sums of 16 to 64 terms.
    np.testing.assert_allclose(found, expected, rtol=0, atol=10 * 2 * 64 * EPSILON)
    np.testing.assert_allclose(cached, expected, rtol=0, atol=10 * 2 * 64 * EPSILON)
    assert type(current_kernels()) is TensorFlowKernels


class Recorder(TensorFlowKernels):
    """Kernels that know which of their methods were called."""

    def __init__(self):
        self.called = set()

    def __getattribute__(self, name):
        object.__getattribute__(self, "__dict__").setdefault("called", set()).add(name)
        return super().__getattribute__(name)


def test_every_layer_computes_with_the_kernels_in_use():
    model, ids = random_model(), random_ids((1, 9))
    with using_kernels(recorder := Recorder()):
        model(ids, cache=model.make_cache(1, 12), num_logits=1)
    of_model, of_layers = {"cache_mask", "embed", "multiply"}, {"look_up", "cache_slots"}
    of_blocks = {"layer_norm", "split_heads", "attend_to_cache", "merge_heads", "gelu"}
    assert recorder.called >= of_model | of_layers | of_blocks


def test_an_error_inside_gives_the_kernels_back():
    with pytest.raises(RuntimeError, match="inside"), using_kernels(LITERT):
        raise RuntimeError("inside")
    assert type(current_kernels()) is TensorFlowKernels


def test_other_threads_keep_their_kernels():
    with using_kernels(LITERT), ThreadPoolExecutor(1) as pool:
        assert type(pool.submit(current_kernels).result()) is TensorFlowKernels
        assert current_kernels() is LITERT


def test_each_backend_has_its_kernels():
    assert isinstance(kernels_of("tensorflow"), TensorFlowKernels)
    assert isinstance(kernels_of("jax"), JaxKernels)
    assert type(kernels_of("torch")) is Kernels
    assert current_kernels() is kernels_of("tensorflow")


def test_only_training_fuses_on_tensorflow():
    kernels = TensorFlowKernels()
    assert kernels.causal_attention(True)
    assert kernels.layer_norm(True)
    for training in (False, None):
        assert kernels.causal_attention(training) is None
        assert kernels.layer_norm(training) is None


def test_jax_attention_is_the_formula():
    # Keras' function runs on this backend too; on JAX itself: tests/training/test_jax.py.
    qkv = normal(2, 5, 3 * 8)
    portable = Kernels()
    q, k, v = portable.split_heads(tf.constant(qkv), 2)
    expected = portable.merge_heads(attend(q, k, v, causal_mask(5, 5), no_dropout))
    found = JaxKernels().causal_attention(False)(tf.constant(qkv), 2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * (5 + 16 * 4) * EPSILON)


def test_the_tiny_model_has_several_heads():
    assert TINY.num_heads > 1  # otherwise the tests above would not see heads mixed up
