"""The learning rate over the steps, and the number of them."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras.training import count_steps, make_schedule
from gpt2_keras.training.schedule import default_warmup_steps


def nanogpt_rate(step, rate, total, warmup):
    """`get_lr` of nanoGPT, with its minimum a tenth."""
    if step < warmup:
        return rate * (step + 1) / (warmup + 1)
    if step > total:
        return rate / 10
    progress = (step - warmup) / (total - warmup)
    return rate / 10 + 0.5 * (1 + math.cos(math.pi * progress)) * (rate - rate / 10)


@pytest.mark.parametrize("warmup", [0, 1, 20])
def test_every_step_has_the_rate_of_the_formula(warmup):
    schedule = make_schedule(6e-4, total_steps=100, warmup_steps=warmup)
    rates = [float(schedule(step)) for step in range(0, 130, 3)]
    expected = [nanogpt_rate(step, 6e-4, 100, warmup) for step in range(0, 130, 3)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)  # float32 arithmetic


@pytest.mark.parametrize("warmup", [0, 1, 20])
@pytest.mark.parametrize(("decay", "ratio"), [("linear", 0.1), ("linear", 0.0), ("constant", 0.1)])
def test_a_linear_decay_ends_at_the_ratio(decay, ratio, warmup):
    schedule = make_schedule(
        2e-3, 100, warmup_steps=warmup, decay=decay, final_learning_rate_ratio=ratio
    )
    copy = type(schedule).from_config(schedule.get_config())
    steps = np.arange(0, 130)
    end = 2e-3 * (1 if decay == "constant" else ratio)
    xs = [-1, warmup, 100] if warmup else [0, 100]
    ys = [0.0, 2e-3, end] if warmup else [2e-3, end]
    expected = np.interp(steps, xs, ys)
    for made in (schedule, copy):
        np.testing.assert_allclose([float(made(s)) for s in steps], expected, rtol=1e-5, atol=1e-9)


def test_a_cosine_decay_ends_at_the_ratio():
    schedule = make_schedule(1.0, 100, warmup_steps=10, final_learning_rate_ratio=0.25)
    assert float(schedule(100)) == pytest.approx(0.25)


@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (2000, 100), (600_000, 2000)])
def test_the_warmup_is_a_twentieth_up_to_2000_steps(total, warmup):
    assert default_warmup_steps(total) == warmup


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"total_steps": 0}, ValueError, r"^total_steps=0 is less than 1\."),
        ({"total_steps": 2.5}, TypeError, r"^total_steps=2\.5 is a float\."),
        ({"total_steps": True}, TypeError, r"^total_steps=True is a bool\."),
        ({"warmup_steps": 10}, ValueError, r"^warmup_steps=10 .*total_steps=10"),
        ({"warmup_steps": -1}, ValueError, r"^warmup_steps=-1 is less than 0\."),
        ({"learning_rate": float("nan")}, ValueError, r"^learning_rate=nan is not finite\."),
        ({"learning_rate": -1.0}, ValueError, r"^learning_rate=-1\.0 is not at least 0\."),
        ({"learning_rate": "1"}, TypeError, r"^learning_rate='1' is a str\."),
        ({"decay": "step"}, ValueError, r"^decay='step' is unknown\. Use one of 'cosine', "),
        ({"final_learning_rate_ratio": 2.0}, ValueError, r"^final_learning_rate_ratio=2\.0 is"),
    ],
)
def test_a_wrong_argument_is_an_error(arguments, error, message):
    with pytest.raises(error, match=message):
        make_schedule(**{"learning_rate": 1e-3, "total_steps": 10, **arguments})


@pytest.mark.parametrize(
    ("x", "arguments", "expected"),
    [
        (np.zeros((10, 4)), {}, 1),
        (np.zeros((10, 4)), {"batch_size": 3, "epochs": 3, "initial_epoch": 1}, 8),
        (np.zeros((10, 4)), {"batch_size": 3, "validation_split": 0.5}, 2),
        (np.zeros((10, 4)), {"steps_per_epoch": 7, "epochs": 2, "verbose": 0}, 14),
        (tf.data.Dataset.range(12).batch(5), {"epochs": 2}, 6),
        (tf.data.Dataset.range(12).repeat(), {}, None),
        (tf.data.Dataset.range(12).filter(lambda x: x > 3), {}, None),
        (tf.data.Dataset.range(12).repeat(), {"steps_per_epoch": 5}, 5),
        (iter([]), {}, None),
    ],
)
def test_steps_are_counted_as_fit_takes_them(x, arguments, expected):
    assert count_steps(x, **arguments) == expected


def test_py_datasets_are_counted():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            raise NotImplementedError

    assert count_steps(Batches(), epochs=2) == 8
