"""The batches that `fit` and `evaluate` accept, and those that they refuse."""

import functools
import re

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


@pytest.mark.parametrize("source", [None, "dataset"])
def test_weights_and_a_padding_mask_are_multiplied(source):
    mask, weights = np.arange(8) < 5, np.array([1.0, 0.5, 0.0, 2.0])
    inputs = {"token_ids": X, "padding_mask": np.tile(mask, (4, 1))}
    expected = loss(X, Y, sample_weight=weights[:, None] * (np.arange(8) < 4))
    if source is None:
        got = loss(inputs, Y, sample_weight=weights)
    else:
        got = loss(tf.data.Dataset.from_tensor_slices((inputs, Y, weights)).batch(4))
    assert got == pytest.approx(expected, rel=1e-6)


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
    "long rows": (
        lambda: np.tile(X, 5),
        r"shape \(4, 40\)\. A row has at most context_length=32 tokens\. Split the text",
    ),
    "rows of two lengths": (lambda: [[1, 2], [3]], "token_ids is a list that is no array: .* Pad"),
    "ragged": (
        lambda: tf.ragged.constant([[1, 2, 3], [1, 2]]),
        r"token_ids is a RaggedTensor\. All rows of a batch are equally long\.",
    ),
    "ragged dataset": (
        lambda: tf.data.Dataset.from_tensors(tf.ragged.constant([[1, 2, 3], [1, 2]])),
        r"token_ids is a RaggedTensor\.",
    ),
    "flags": (lambda: X > 3, r"token_ids of dtype bool\."),
    "several inputs": (
        lambda: tf.data.Dataset.from_tensors(((X, X), Y)),
        r"token_ids that are a tuple\. Give \(token_ids, targets\)",
    ),
    "several targets": (
        lambda: tf.data.Dataset.from_tensors((X, {"lm": Y})),
        r"targets that are a dict\. Give \(token_ids, targets\)",
    ),
    "four parts": (
        lambda: tf.data.Dataset.from_tensors((X, Y, Y, Y)),
        "a dataset with elements of 4 parts",
    ),
}
WRONG_TARGETS = {
    "probabilities": (np.eye(300)[Y], r"targets of \(4, 8, 300\)\. The default loss wants one id"),
    "one for each row": (Y[:, 0], r"targets of \(4,\)\. The default loss wants one id"),
    "flags": (Y > 3, r"targets of dtype bool\."),
    "ragged": (tf.ragged.constant([[1, 2, 3], [1, 2]]), r"targets is a RaggedTensor\."),
}


@pytest.mark.parametrize("case", WRONG_TARGETS)
def test_other_forms_of_targets_are_refused(case):
    targets, message = WRONG_TARGETS[case]
    with pytest.raises(ValueError, match=message):
        untrained().fit(X, targets)


def test_probabilities_are_targets_of_a_loss_that_takes_them():
    model = random_model()
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    probs = np.eye(300, dtype="float32")[Y]
    logs = model.evaluate(X, probs, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(EXPECTED, rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "accepted"), [((4,), True), ((4, 8), True), ((8,), False), ((4, 8, 1), False)]
)
def test_weights_are_of_rows_or_of_targets(shape, accepted):
    weights = np.ones(shape)
    if accepted:
        assert loss(X, Y, sample_weight=weights) == CLOSE
        return
    with pytest.raises(ValueError, match=rf"sample_weight of {re.escape(str(shape))}\. Give a"):
        untrained().fit(X, Y, sample_weight=weights)


def test_weights_of_classes_are_refused():
    with pytest.raises(ValueError, match=r"class_weight=\{0: 2\.0\} weighs rows of one class"):
        untrained().fit(X, Y, class_weight={0: 2.0})


@pytest.mark.parametrize("value", [1.5, np.nan, np.inf, 2.0**32])
@pytest.mark.parametrize("source", [None, "dataset"])
def test_a_number_that_is_no_id_is_refused(source, value):
    x = changed(X.astype("float64"), value)
    batch = (x, Y) if source is None else (SOURCES[source](x, Y),)
    with pytest.raises(
        (ValueError, tf.errors.InvalidArgumentError), match=r"token_ids has .* Ids are integers"
    ):
        untrained().fit(*batch, verbose=0)


def test_a_long_row_is_refused_where_the_dataset_does_not_tell_its_length():
    rows = tf.data.Dataset.from_generator(
        lambda: iter([(np.tile(X, 5),) * 2]), output_types=("int32", "int32")
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="token_ids has a longer row"):
        untrained().fit(rows, verbose=0)


@pytest.mark.parametrize("source", [None, *SOURCES])
def test_predict_checks_ids(source):
    model = untrained()
    ids = X if source is None else SOURCES[source](X)
    steps = {} if source is None else {"steps": 1}
    np.testing.assert_allclose(
        model.predict(ids, verbose=0, **steps), model(X), rtol=1e-5, atol=1e-5
    )
    wrong = changed(X, 1000)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"token_ids has .*1000"):
        model.predict(wrong if source is None else SOURCES[source](wrong), verbose=0, **steps)


def test_predict_on_batch_checks_ids():
    np.testing.assert_allclose(untrained().predict_on_batch(X), untrained()(X), atol=1e-5)
    with pytest.raises(ValueError, match="token_ids has the id 1000"):
        untrained().predict_on_batch(changed(X, 1000))
    with pytest.raises(ValueError, match="batches of texts"):
        untrained().predict(np.array(["the"]))


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
