"""The batches that `fit` and `evaluate` accept, and those that they refuse."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras.training import IGNORED_TARGET
from tests.models import random_ids, random_model

IDS = random_ids((4, 9))
X, Y = IDS[:, :-1], IDS[:, 1:]


class Batches(keras.utils.PyDataset):
    """A batch of all rows."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.arrays if len(self.arrays) > 1 else self.arrays[0]


SOURCES = {
    "dataset": lambda *arrays: tf.data.Dataset.from_tensor_slices(arrays).batch(4),
    "PyDataset": Batches,
    "generator": lambda *arrays: iter([arrays]),
}


def compiled():
    model = random_model()
    model.compile(jit_compile=False)
    return model


@functools.cache
def untrained():
    """A model whose steps are traced once; what trains it makes its own."""
    return compiled()


def loss(*batch, **arguments):
    arguments |= {} if len(batch) > 1 or isinstance(batch[0], np.ndarray) else {"steps": 1}
    return untrained().evaluate(*batch, verbose=0, return_dict=True, **arguments)["loss"]


EXPECTED = loss(X, Y)
CLOSE = pytest.approx(EXPECTED, rel=1e-6)  # a mean over the same losses, in other batches


def changed(array, value):
    array = array.copy()
    array[1, 2] = value
    return array


WRONG = {
    "target -1": (X, changed(Y, -1), "targets has .*-1", "-100 for a target to ignore"),
    "target 1000": (X, changed(Y, 1000), "targets has .*1000", "below vocab_size="),
    "input -100": (changed(X, -100), Y, "token_ids has .*-100", "Encode the text"),
    "input 1000": (changed(X, 1000), Y, "token_ids has .*1000", "below vocab_size="),
}


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
@pytest.mark.parametrize("case", WRONG)
def test_an_array_with_a_wrong_id_is_refused(method, case):
    x, y, *messages = WRONG[case]
    model = untrained()
    before = model.get_weights()
    for message in messages:
        with pytest.raises(ValueError, match=message):
            getattr(model, method)(x, y)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("case", ["target -1", "input 1000"])
def test_a_source_with_a_wrong_id_is_refused(method, source, case):
    x, y, _, message = WRONG[case]
    steps = {"fit": "steps_per_epoch", "evaluate": "steps"}[method]
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        getattr(untrained(), method)(SOURCES[source](x, y), verbose=0, **{steps: 1})


def test_a_wrong_id_is_refused_under_xla():
    x, y, _, message = WRONG["target -1"]
    model = random_model()
    model.compile(jit_compile=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        model.evaluate(SOURCES["dataset"](x, y), verbose=0)


@pytest.mark.parametrize("source", [None, "dataset"])
def test_wrong_validation_data_is_refused(source):
    x, y, _, message = WRONG["target -1"]
    validation = (x, y) if source is None else SOURCES[source](x, y)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        compiled().fit(X, Y, validation_data=validation, validation_steps=1, verbose=0)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", "int64", "float32"])
@pytest.mark.parametrize("source", [None, "dataset"])
def test_ids_of_any_dtype_are_accepted(source, dtype):
    x, y = X % 100, Y % 100
    typed = x.astype(dtype), y.astype(dtype)
    batch = typed if source is None else (SOURCES[source](*typed),)
    assert loss(*batch) == pytest.approx(loss(x, y), rel=1e-6)


@pytest.mark.parametrize("source", [None, *SOURCES])
def test_the_next_tokens_are_the_targets_if_there_are_none(source):
    assert loss(IDS if source is None else SOURCES[source](IDS)) == CLOSE


@pytest.mark.parametrize("source", [None, *SOURCES])
def test_ignored_targets_are_accepted(source):
    ignored = Y.copy()
    ignored[:, 4:] = IGNORED_TARGET
    batch = (X, ignored) if source is None else (SOURCES[source](X, ignored),)
    assert loss(*batch) == pytest.approx(loss(X[:, :4], Y[:, :4]), rel=1e-6)


@pytest.mark.parametrize("source", [None, "dataset"])
def test_the_dictionary_of_kerashub_is_accepted(source):
    lengths = np.array([[8], [5], [3], [8]])
    mask = np.arange(8) < lengths
    inputs = {"token_ids": X, "padding_mask": mask}
    ignored = np.where(np.arange(8) < lengths - (lengths < 8), Y, IGNORED_TARGET)
    if source is None:
        got = loss(inputs, Y)
    else:
        got = loss(tf.data.Dataset.from_tensor_slices((inputs, Y)).batch(4))
    assert got == pytest.approx(loss(X, ignored), rel=1e-6)


def test_weights_go_with_the_targets():
    weights = np.random.default_rng(0).random(X.shape).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((X, Y, weights)).batch(4)
    assert loss(dataset) == pytest.approx(loss(X, Y, sample_weight=weights), rel=1e-6)
    assert loss(X, Y, sample_weight=weights) != CLOSE


def test_a_dataset_is_as_long_as_before():
    model = compiled()
    model.fit(SOURCES["dataset"](X, Y), epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 2
    assert float(model.optimizer.learning_rate) == pytest.approx(6e-5)


REFUSED = {
    "unbatched": (
        lambda: tf.data.Dataset.from_tensor_slices((X, Y)),
        r"^Received token_ids of the shape \(8,\)\. Batch the dataset",
    ),
    "texts": (
        lambda: tf.data.Dataset.from_tensor_slices(["a cat"]).batch(1),
        r"^Received batches of texts \(dtype string\)",
    ),
    "array of texts": (lambda: np.array(["a cat"]), "^Received batches of texts"),
    "other dictionary": (lambda: {"input_ids": X, "labels": Y}, r"\['input_ids', 'labels'\]"),
    "one token": (lambda: X[:, :1], r"shape \(4, 1\) and no targets"),
    "three axes": (lambda: X[None], r"shape \(1, 4, 8\)"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_other_forms_are_refused(method, case):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        getattr(untrained(), method)(make(), verbose=0)


def test_targets_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"shape \(4, 8\) and targets of \(4, 7\)"):
        untrained().fit(X, Y[:, :-1])


def test_a_model_with_steps_of_its_own_reads_batches_of_its_own():
    class Own(type(random_model())):
        def train_step(self, data):
            return {"loss": keras.ops.mean(data["chosen"]) * 0.0}

    random = random_model()
    model = Own(random.config)
    model.compile(jit_compile=False)
    dataset = tf.data.Dataset.from_tensor_slices({"chosen": np.ones((2, 1), "float32")}).batch(2)
    assert model.fit(dataset, verbose=0).history["loss"] == [0.0]
