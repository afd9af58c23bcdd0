"""XLA's kernels on a CPU against the formula, in graphs that TensorFlow has it compile."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras.layers.attention import attend
from gpt2_keras.layers.kernels.portable import Kernels
from gpt2_keras.layers.kernels.tensorflow_xla import TensorFlowXlaKernels
from gpt2_keras.layers.masks import causal_mask

RANDOM = np.random.default_rng(0)
EPSILON = np.finfo("float32").eps  # 1.2e-7
KERNELS = TensorFlowXlaKernels()


def normal(*shape):
    return RANDOM.normal(size=shape).astype("float32")


def compiled(function, *arguments):
    return tf.function(function, jit_compile=True)(*map(tf.constant, arguments))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 8])
def test_every_product_is_rows_times_the_transposed_kernel(training, rows):
    x, kernel = normal(rows, 5), normal(7, 5)
    product = compiled(lambda x, kernel: KERNELS.multiply(x, kernel, training), x, kernel)
    # Sums of 5 products, each product below 16.
    np.testing.assert_allclose(product, x @ kernel.T, rtol=0, atol=16 * 5 * EPSILON)
    assert product.shape == (rows, 7)


def test_only_the_product_of_a_single_row_stands_alone():
    def graph_of(rows, training):
        signature = [tf.TensorSpec((rows, 5)), tf.TensorSpec((7, 5))]
        function = tf.function(lambda x, kernel: KERNELS.multiply(x, kernel, training))
        graph = function.get_concrete_function(*signature).graph
        return {operation.type for operation in graph.get_operations()}

    assert "XlaOptimizationBarrier" in graph_of(1, False)
    assert "XlaOptimizationBarrier" not in graph_of(2, False) | graph_of(1, True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("time", [1, 3])
def test_attention_to_a_cache_is_the_formula_after_the_write(time, overwrite):
    index = 4
    q, k, v = (normal(2, 2, time, 4) for _ in range(3))
    cache = normal(2, 2, 2, 9, 4)  # keys and values first
    cache[:, :, :, index:] = 1e6  # not yet written: it must not be read
    padding = np.array([[False] * 2 + [True] * 7, [True] * 9])
    mask = causal_mask(time, 9, index, padding)

    def run(q, k, v, keys, values):
        formula = functools.partial(attend, dropout=lambda weights: weights)
        slots = KERNELS.cache_slots((keys, values), time, index)
        return KERNELS.attend_to_cache(
            formula, (q, k, v), mask, (keys, values), slots, overwrite=overwrite
        )

    mixed, written = compiled(run, q, k, v, *cache)
    whole = cache.copy()
    whole[:, :, :, index : index + time] = k, v
    expected = attend(q, *whole, mask, lambda weights: weights)
    # Weights that add up to 1, of values below 4: a rounding for each of 9 keys, and as many
    # of each of 4 products below 16 in a score.
    np.testing.assert_allclose(mixed, expected, rtol=0, atol=4 * (9 + 16 * 4) * EPSILON)
    np.testing.assert_array_equal(written, whole)


def test_other_kernels_attend_after_the_write():
    q, k, v = (normal(1, 1, 1, 4) for _ in range(3))
    cache = tuple(map(tf.constant, normal(2, 1, 1, 3, 4)))
    kernels = Kernels()
    mixed, written = kernels.attend_to_cache(
        functools.partial(attend, dropout=lambda weights: weights),
        (q, k, v),
        causal_mask(1, 3, 2),
        cache,
        kernels.cache_slots(cache, 1, 2),
        overwrite=True,
    )
    np.testing.assert_array_equal(written[0][:, :, 2:], k)
    expected = attend(q, *written, causal_mask(1, 3, 2), lambda weights: weights)
    np.testing.assert_array_equal(mixed, expected)
