"""The loss against NumPy, and what it ignores."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras.training import IGNORED_TARGET, make_loss
from tests.models import random_model


def cross_entropy_oracle(targets, logits):
    """Mean of -log softmax over the targets that count, and its gradient."""
    logits = logits.astype("float64")
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    probs = exponents / exponents.sum(-1, keepdims=True)  # (batch, time, vocab)
    counts = targets != IGNORED_TARGET
    one_hot = np.eye(logits.shape[-1])[np.where(counts, targets, 0)]
    gradient = (probs - one_hot) * counts[..., None] / max(counts.sum(), 1)
    losses = -np.log((probs * one_hot).sum(-1)) * counts
    return losses.sum() / max(counts.sum(), 1), gradient


@pytest.mark.parametrize("ignored", [0, 5, 12])
def test_loss_and_gradient_equal_numpys(ignored):
    random = np.random.default_rng(0)
    logits = random.normal(size=(3, 4, 7)).astype("float32") * 3
    targets = random.integers(0, 7, (3, 4))
    targets.ravel()[random.permutation(12)[:ignored]] = IGNORED_TARGET
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = make_loss()(targets, variable)
    expected, expected_gradient = cross_entropy_oracle(targets, logits)
    gradient = tape.gradient(loss, variable)
    np.testing.assert_allclose(float(loss), expected, rtol=1e-5)
    np.testing.assert_allclose(gradient.numpy(), expected_gradient, rtol=0, atol=1e-6)
    assert not gradient.numpy()[targets == IGNORED_TARGET].any()


def test_ignored_positions_may_hold_any_logits():
    logits = np.zeros((1, 3, 4), "float32")
    logits[0, 1] = np.inf
    loss = make_loss()(np.array([[1, IGNORED_TARGET, 2]]), logits)
    assert float(loss) == pytest.approx(np.log(4), abs=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "SparseCategoricalCrossentropy",
        "categorical_crossentropy",
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.SparseCategoricalCrossentropy(),
    ],
    ids=["name", "class name", "other name", "function", "object"],
)
def test_a_loss_on_probabilities_is_refused(loss):
    with pytest.raises(ValueError, match=r"^loss=.* expects probabilities, but the model returns"):
        random_model().compile(loss=loss)


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=True),
        lambda targets, logits: keras.ops.mean(logits) + 0 * keras.ops.mean(targets),
        "mean_squared_error",
    ],
    ids=["object", "partial", "function", "name"],
)
def test_a_loss_on_logits_is_accepted(loss):
    model = random_model()
    model.compile(loss=loss)
    assert model.loss is loss
