"""GPTQ against Optimal Brain Surgeon, column by column, and what it is for: less change."""

import numpy as np
import pytest

from gpt2_keras.export.gptq import DAMPING, gptq


def inputs(width, rows=400, seed=0):
    """Correlated inputs of a product."""
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, 8)) @ random.normal(size=(8, width)) + random.normal(
        size=(rows, width)
    )


def column_by_column(weights, scales, hessian, largest):
    """Rounds a column, makes up for it by all that are left, and takes it out of the inverse."""
    left, width = weights.astype("float64"), weights.shape[1]
    grid = np.repeat(scales, width // scales.shape[1], axis=1)
    diagonal = np.diag(hessian)
    inverse = np.linalg.inv(hessian + DAMPING * diagonal.mean() * np.eye(width))
    integers = np.empty(weights.shape, np.int8)
    for column in np.argsort(-diagonal, kind="stable"):
        scale = grid[:, column]
        integers[:, column] = np.clip(np.rint(left[:, column] / scale), -largest, largest)
        error = (left[:, column] - integers[:, column] * scale) / inverse[column, column]
        left -= np.outer(error, inverse[column])
        inverse -= np.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    return integers


def case(width, blocks, largest=7):
    random = np.random.default_rng(width)
    weights = random.normal(size=(20, width))
    size = width // blocks
    scales = np.abs(weights.reshape(20, blocks, size)).max(axis=2) / largest
    x = inputs(width)
    return weights, scales, x, x.T @ x


@pytest.mark.parametrize(("width", "blocks", "largest"), [(32, 1, 7), (160, 5, 7), (96, 1, 127)])
def test_it_equals_optimal_brain_surgeon(width, blocks, largest):
    weights, scales, _, hessian = case(width, blocks, largest)
    found = gptq(weights, scales, hessian, largest)
    # Where a weight is half-way between two integers, roundings decide.
    different = (found != column_by_column(weights, scales, hessian, largest)).mean()
    assert different < 0.002


def test_the_outputs_change_less_than_by_rounding_to_the_nearest():
    weights, scales, x, hessian = case(160, 5)
    grid = np.repeat(scales, 32, axis=1)
    changes = [
        np.square(x @ (weights - integers * grid).T).sum()
        for integers in (gptq(weights, scales, hessian, 7), np.rint(weights / grid))
    ]
    assert changes[0] < 0.5 * changes[1]


def test_inputs_that_are_not_correlated_leave_rounding_to_the_nearest():
    weights, scales, _, _ = case(64, 2)
    found = gptq(weights, scales, np.diag(np.linspace(1, 2, 64)), 7)
    expected = np.clip(np.rint(weights / np.repeat(scales, 32, axis=1)), -7, 7)
    np.testing.assert_array_equal(found, expected)


def test_inputs_that_are_always_0_are_no_obstacle():
    weights, scales, x, _ = case(64, 2)
    x[:, 5:9] = 0
    found = gptq(weights, scales, x.T @ x, 7)
    expected = np.clip(np.rint(weights / np.repeat(scales, 32, axis=1)), -7, 7)
    np.testing.assert_array_equal(found[:, 5:9], expected[:, 5:9])
    assert np.abs(found).max() <= 7
