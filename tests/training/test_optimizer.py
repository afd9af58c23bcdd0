"""The optimizer against a NumPy oracle, and its way through a file."""

import keras
import numpy as np
import pytest
from keras import ops

from gpt2_keras.layers.kernels import fused
from gpt2_keras.training import AdamW, make_optimizer
from gpt2_keras.training.optimizer import default_learning_rate, global_norm
from tests.models import TINY, random_ids, random_model

DECAYING = ("kernel",)


def adamw_oracle(weights, gradients, decays, rates, *, clip=1.0, decay=0.1, b1=0.9, b2=0.95):
    """AdamW as in Loshchilov & Hutter (2019), algorithm 2, in float64, after global clipping."""
    weights = [w.astype("float64") for w in weights]
    first, second = [0.0] * len(weights), [0.0] * len(weights)
    for step, (grads, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        norm = np.sqrt(sum((g.astype("float64") ** 2).sum() for g in grads))
        for i, g in enumerate(grads):
            g = g * min(1.0, clip / norm)
            first[i] = b1 * first[i] + (1 - b1) * g
            second[i] = b2 * second[i] + (1 - b2) * g**2
            m, v = first[i] / (1 - b1**step), second[i] / (1 - b2**step)
            if decays[i]:
                weights[i] = weights[i] * (1 - rate * decay)
            weights[i] = weights[i] - rate * m / (np.sqrt(v) + 1e-8)
    return weights


@pytest.mark.parametrize("large", [0, fused.LARGE])  # all weights, and none
@pytest.mark.parametrize("size", [0.001, 10.0])  # below the clipping norm, and above
def test_three_steps_equal_the_oracle(size, large, monkeypatch):
    monkeypatch.setattr(fused, "LARGE", large)
    random = np.random.default_rng(0)
    names = ["kernel", "bias", "gamma", "beta", "embeddings"]
    values = [random.normal(size=(3, 4)).astype("float32") for _ in names]
    gradients = [[size * random.normal(size=(3, 4)) for _ in names] for _ in range(3)]
    variables = [keras.Variable(v, name=n) for v, n in zip(values, names, strict=True)]
    optimizer = make_optimizer(0.01, total_steps=10, warmup_steps=2)
    rates = [0.01 / 3, 0.02 / 3, 0.01]
    for grads in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g, "float32") for g in grads], variables)
    decays = [name in DECAYING for name in names]
    expected = adamw_oracle(values, gradients, decays, rates)
    for variable, value in zip(variables, expected, strict=True):
        # Three steps in float32 on weights below 4, a rounding of 2.4e-7 for each of some 6
        # operations; a forgotten decay would be 1e-3.
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), value, rtol=0, atol=5e-6)


def test_kernels_decay_and_nothing_else():
    model, optimizer = random_model(), AdamW()
    optimizer.build(model.trainable_variables)
    decaying = {v.name for v in model.trainable_variables if optimizer.has_weight_decay(v)}
    resting = {v.name for v in model.trainable_variables if not optimizer.has_weight_decay(v)}
    assert decaying == set(DECAYING)
    assert resting == {"bias", "gamma", "beta", "embeddings"}


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_keras_file_keeps_exclusions_schedule_and_state(tmp_path, dtype):
    ids = random_ids((4, 9))
    model = random_model(dtype=dtype)
    model.compile(jit_compile=False)
    model.fit(ids[:, :-1], ids[:, 1:], batch_size=2, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    ours, theirs = _inner(model.optimizer), _inner(loaded.optimizer)
    assert isinstance(theirs, AdamW)
    assert theirs.get_config() == ours.get_config()
    kernel = next(v for v in loaded.trainable_variables if v.name == "kernel")
    bias = next(v for v in loaded.trainable_variables if v.name == "bias")
    assert theirs.has_weight_decay(kernel)
    assert not theirs.has_weight_decay(bias)
    for before, after in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(before), keras.ops.convert_to_numpy(after)
        )
    for network in (model, loaded):
        network.fit(ids[:, :-1], ids[:, 1:], batch_size=2, epochs=1, shuffle=False, verbose=0)
    for before, after in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(before), keras.ops.convert_to_numpy(after)
        )


def test_a_warmup_without_a_number_of_steps_is_an_error():
    with pytest.raises(ValueError, match=r"^warmup_steps=5 was given without total_steps\."):
        make_optimizer(warmup_steps=5)


def test_the_usual_learning_rate_depends_on_the_size():
    assert default_learning_rate(TINY.num_parameters) == 1e-3
    assert default_learning_rate(124_000_000) == 6e-4
    assert default_learning_rate(124_000_000, fine_tuning=True) == 3e-5


def _inner(optimizer):
    return getattr(optimizer, "inner_optimizer", optimizer)


def test_amsgrad_and_its_absence_are_keras_own():
    for amsgrad in (False, True):
        weights = []
        for kind in (keras.optimizers.AdamW, AdamW):
            variable = keras.Variable(np.ones(3, "float32"), name="kernel")
            optimizer = kind(0.1, weight_decay=0.2, amsgrad=amsgrad)
            for size in (5.0, 0.1, -0.2):
                optimizer.apply([ops.full((3,), size)], [variable])
            weights.append(ops.convert_to_numpy(variable))
        np.testing.assert_allclose(*weights, rtol=0, atol=5e-6)


def test_the_norm_of_no_gradients_is_none():
    assert float(global_norm([None])) == 0
