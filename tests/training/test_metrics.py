"""Compiled metrics: targets to ignore count in none."""

import keras
import keras_hub
import numpy as np
import pytest

from gpt2_keras.training import IGNORED_TARGET
from tests.models import random_ids, random_model

X = random_ids((4, 8))


def right_targets(model):
    """Targets that the model predicts, half of them ignored, and one that it does not."""
    targets = np.asarray(keras.ops.convert_to_numpy(model(X))).argmax(-1)
    targets[:, 4:] = IGNORED_TARGET
    targets[0, 0] = (targets[0, 0] + 1) % 300
    return targets


def evaluate(metric, *, loss="auto", kind="metrics", **arguments):
    model = random_model()
    model.compile(loss=loss, jit_compile=False, **{kind: [metric]})
    results = model.evaluate(X, right_targets(model), verbose=0, return_dict=True, **arguments)
    return next(value for name, value in results.items() if name not in ("loss", "perplexity"))


OTHER_LOSS = keras.losses.SparseCategoricalCrossentropy(
    from_logits=True, ignore_class=IGNORED_TARGET, reduction="sum"
)


@pytest.mark.parametrize("loss", ["auto", OTHER_LOSS], ids=["our step", "Keras' step"])
@pytest.mark.parametrize("kind", ["metrics", "weighted_metrics"])
@pytest.mark.parametrize(
    "make",
    [lambda: "accuracy", lambda: keras.metrics.SparseTopKCategoricalAccuracy(1, name="top")],
    ids=["name", "object"],
)
def test_ignored_targets_do_not_count(make, kind, loss):
    assert evaluate(make(), kind=kind, loss=loss) == pytest.approx(15 / 16)


def test_weights_count_in_weighted_metrics_only():
    weights = np.ones(X.shape, "float32")
    weights[0, 0] = 0
    assert evaluate("accuracy", sample_weight=weights) == pytest.approx(15 / 16)
    weighted = evaluate("accuracy", kind="weighted_metrics", sample_weight=weights)
    assert weighted == pytest.approx(1.0)


def test_kerashubs_perplexity_is_that_of_the_loss():
    model = random_model()
    metric = keras_hub.metrics.Perplexity(from_logits=True, name="hub")
    model.compile(metrics=[metric], jit_compile=False)
    results = model.evaluate(X, right_targets(model), verbose=0, return_dict=True)
    # exp of a mean of 16 losses, each a float32 sum over 300 logits
    assert results["hub"] == pytest.approx(results["perplexity"], rel=1e-4)


@pytest.mark.parametrize("kind", ["metrics", "weighted_metrics"])
def test_the_rows_that_fill_up_micro_batches_do_not_count(kind):
    model = random_model()
    # 4 rows in 3 micro-batches of 2
    arguments = {"optimizer": keras.optimizers.SGD(0.0), kind: ["accuracy"]}
    model.compile(**arguments, accumulation_steps=3, jit_compile=False)
    history = model.fit(X, right_targets(model), verbose=0).history
    assert history["accuracy"] == [pytest.approx(15 / 16)]


def test_metrics_count_in_training_too():
    model = random_model()
    model.compile(optimizer=keras.optimizers.SGD(0.0), metrics=["accuracy"], jit_compile=False)
    history = model.fit(X, right_targets(model), verbose=0).history
    assert history["accuracy"] == [pytest.approx(15 / 16)]
