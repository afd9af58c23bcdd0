"""Generation on JAX: the texts of TensorFlow, and what is compiled."""

import json

import keras
import numpy as np
import pytest

from tests.generation import cases
from tests.models import text_model
from tests.processes import start, wait_for

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="compares with TensorFlow"
)


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory):
    """What `cases` finds where TensorFlow is not installed."""
    pytest.importorskip("jax")
    folder = tmp_path_factory.mktemp("jax")
    (folder / "sitecustomize.py").write_text('import sys; sys.modules["tensorflow"] = None')
    environment = {"KERAS_BACKEND": "jax", "PYTHONPATH": str(folder)}
    wait_for([start("-m", "tests.generation.cases", folder / "out.json", **environment)], 900)
    return json.loads((folder / "out.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


def test_the_texts_of_every_sampler_and_search_are_those_of_tensorflow(on_jax, model):
    expected = cases.exact(model)
    assert on_jax["exact"].keys() == expected.keys()
    for name, texts in expected.items():
        assert on_jax["exact"][name] == texts, name


def test_log_probabilities_are_those_of_tensorflow(on_jax, model):
    for name, rows in cases.numbers(model).items():
        for found, row in zip(on_jax["numbers"][name], rows, strict=True):
            # Sums of float32 in another order; the logits are of size 1.
            np.testing.assert_allclose(found, row, rtol=1e-4, atol=1e-5)


def test_a_callback_generates_with_the_weights_of_its_batch(on_jax):
    expected = cases.while_training(text_model(context_length=64, seed=1))
    assert on_jax["training"] == expected
    assert len(set(expected)) > 1  # the weights change the text
    assert expected[-1] == expected[-2]


def test_nothing_is_compiled_again_within_a_bucket_or_for_other_weights(on_jax):
    assert on_jax["traces"] == {
        "one bucket": ["advance", "start"],
        "a longer prompt": ["advance", "start"],
        "other weights": [],
    }
