"""`model.fit` with the defaults."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.runs.callbacks import RequireFiniteLoss, TokensPerSecond
from gpt2_keras.training import IGNORED_TARGET
from tests.bfloat16 import needs_bfloat16
from tests.models import random_model

CONFIG = GPT2Config(
    vocab_size=8, context_length=8, num_layers=1, num_heads=2, hidden_dim=32, dropout_rate=0.0
)
# Counting round and round: each token decides the next.
COUNTING = (np.arange(9) + np.arange(64)[:, None]).astype("int32") % 8
INPUTS, TARGETS = COUNTING[:, :-1], COUNTING[:, 1:]


@pytest.mark.parametrize(
    ("dtype", "limit"),
    [
        ("float32", 0.2),
        pytest.param("mixed_bfloat16", 0.2, marks=needs_bfloat16),
        # CPUs take seconds for these products; other tests train a few steps with them.
        pytest.param("mixed_float16", 0.2, marks=pytest.mark.slow),
    ],
)
def test_the_defaults_learn_to_count(dtype, limit):
    keras.utils.set_random_seed(0)
    model = GPT2LM(CONFIG, dtype=dtype)
    model.compile(jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(16).repeat(30)
    history = model.fit(data, epochs=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"] == sorted(history["loss"], reverse=True)
    assert history["loss"][-1] < limit  # log 8 = 2.08 at the start
    np.testing.assert_allclose(history["perplexity"], np.exp(history["loss"]), rtol=1e-5)


def test_ignored_targets_teach_nothing():
    model = random_model(CONFIG)
    model.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=False)
    before = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    model.fit(INPUTS, np.full_like(TARGETS, IGNORED_TARGET), verbose=0)
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(weight))


def test_the_progress_bar_shows_perplexity_and_speed(capsys):
    model = random_model(CONFIG)
    model.compile(jit_compile=False)
    model.fit(INPUTS, TARGETS, batch_size=16, callbacks=[TokensPerSecond(16 * 8)])
    bar = capsys.readouterr().out
    assert "perplexity: " in bar
    assert "tokens_per_second: " in bar


def test_a_loss_that_is_no_number_stops_fit_with_an_error():
    model = random_model(CONFIG)
    model.compile(optimizer=keras.optimizers.SGD(1e30), jit_compile=False)
    with pytest.raises(ValueError, match=r"loss=(nan|inf) is not finite in step \d+\. Use"):
        model.fit(INPUTS, TARGETS, batch_size=8, verbose=0, callbacks=[RequireFiniteLoss()])


def test_a_weighed_loss_weighs():
    steps = []
    for weight in (1.0, 0.5):
        model = random_model(CONFIG)
        before = keras.ops.convert_to_numpy(model.weights[0])
        model.compile(keras.optimizers.SGD(0.1), loss_weights=weight, jit_compile=False)
        model.train_on_batch(INPUTS[:4], TARGETS[:4])
        steps.append(keras.ops.convert_to_numpy(model.weights[0]) - before)
    np.testing.assert_allclose(steps[0], 2 * steps[1], rtol=0, atol=1e-5)
    assert np.abs(steps[0]).max() > 1e-3


def test_the_schedule_counts_what_fit_is_given_by_position():
    model = random_model(CONFIG)
    model.compile(jit_compile=False)
    model.fit(INPUTS[:8], TARGETS[:8], 4, 3, 0)
    assert keras.ops.convert_to_numpy(model.optimizer.schedule).tolist() == [0, 0, 6]


def test_document_masking_needs_the_default_loss():
    model = random_model(CONFIG)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match=r"^document_masking=True needs the default loss"):
        model.compile(loss=loss, document_masking=True)
