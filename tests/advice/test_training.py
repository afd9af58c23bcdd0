"""What the errors of `compile`, `fit` and optimizers advise, done."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras.training import make_optimizer, make_schedule
from tests.advice.following import follow, told
from tests.models import random_ids, random_model, text_model

ROWS = random_ids((4, 9))
IDS, TARGETS = ROWS[:, :-1], ROWS[:, 1:]


def compiled(**options):
    model = random_model()
    model.compile(**{"optimizer": "sgd"} | options)
    return model


def fit(x=IDS, y=TARGETS, model=None, **arguments):
    history = (model or compiled()).fit(x, y, verbose=0, **arguments)
    loss = history.history["loss"][0]
    assert np.isfinite(loss)
    return loss


def test_a_loss_on_probabilities():
    advice = (
        'Use loss="auto", or keras.losses.SparseCategoricalCrossentropy(from_logits=True, '
        "ignore_class=-100)."
    )
    told(lambda: compiled(loss="sparse_categorical_crossentropy"), advice)
    auto = fit(model=compiled(loss="auto"))
    advised = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100)
    assert fit(model=compiled(loss=advised)) == pytest.approx(auto, rel=1e-5)


@pytest.mark.parametrize(
    ("option", "value"), [("accumulation_steps", 2), ("document_masking", True)]
)
def test_an_option_that_needs_the_default_loss(option, value):
    def train(**changes):
        model = text_model()
        model.compile("sgd", **{option: value} | changes)
        ids = random_ids((4, 8), model.config)
        return fit(ids, ids, model)

    own = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    told(lambda: train(loss=own), 'Use loss="auto", without `loss_weights` or regularizers.')
    assert train(loss="auto")


def test_accumulating_no_batch():
    told(lambda: compiled(accumulation_steps=0), "Use 1 to train on whole batches.")
    assert compiled(accumulation_steps=1)


def test_documents_without_a_tokenizer():
    model = compiled(document_masking=True)
    told(lambda: fit(model=model), "Set `model.tokenizer` first.")
    whole = text_model()
    whole.compile("sgd", document_masking=True)
    ids = random_ids((4, 8), whole.config)
    assert fit(ids, ids, whole)


def test_weights_of_classes():
    told(
        lambda: fit(class_weight={1: 2.0}),
        "Give sample_weight, a weight for each target, (batch, time).",
    )
    assert fit(sample_weight=np.where(TARGETS == 1, 2.0, 1.0))


def test_weights_of_another_shape():
    weights = np.ones((4, 3))
    advice = "Give a weight for each row, (batch,), or for each target, (batch, time)."
    told(lambda: fit(sample_weight=weights), advice)
    assert fit(sample_weight=np.ones(4)) == pytest.approx(fit(sample_weight=np.ones((4, 8))))


FORMS = (
    "Give (token_ids, targets), both int (batch, time), with sample_weight or without; token_ids "
    'alone; or {"token_ids": …, "padding_mask": …} and targets.'
)


@pytest.mark.parametrize(
    "wrong",
    [
        ({"inputs": IDS}, TARGETS),
        (IDS[..., None, None], TARGETS),
        (IDS, TARGETS[:, :-1]),
    ],
)
def test_a_batch_of_another_form(wrong):
    told(lambda: fit(*wrong), FORMS)
    both = fit()
    assert fit(sample_weight=np.ones((4, 8))) == pytest.approx(both, rel=1e-5)
    assert fit(ROWS, None) == pytest.approx(both, rel=1e-5)
    mask = np.ones((4, 8), bool)
    assert fit({"token_ids": IDS, "padding_mask": mask}) == pytest.approx(both, rel=1e-5)


def test_one_hot_targets():
    one_hot = keras.utils.to_categorical(TARGETS, 300)
    advice = "For probabilities as targets compile the model with a loss that takes them."
    told(lambda: fit(IDS, one_hot), advice)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    assert fit(IDS, one_hot, compiled(loss=loss)) == pytest.approx(fit(), rel=1e-5)


def test_rows_of_several_lengths():
    rows = [[1, 2, 3, 4], [5, 6]]
    told(lambda: fit(rows, rows), "Pad them, and give the dictionary of token_ids and ")
    told(lambda: fit(tf.ragged.constant(rows), tf.ragged.constant(rows)), "-100 as the targets")
    padded = np.array([[1, 2, 3, 4], [5, 6, 0, 0]])
    ids, targets = padded[:, :-1], padded[:, 1:]
    by_mask = fit({"token_ids": ids, "padding_mask": ids > 0}, targets)
    assert fit(ids, np.where(targets > 0, targets, -100)) == pytest.approx(by_mask, rel=1e-5)


def test_texts_instead_of_ids(tmp_path):
    from gpt2_keras.data import make_dataset, prepare

    model = text_model()
    model.compile("sgd")
    advice = "Encode the texts with `gpt2_keras.data.prepare` and `make_dataset`, or with a "
    texts = np.array(["the cat", "the dog"])
    told(lambda: model.fit(texts, verbose=0), advice)
    (tmp_path / "a.txt").write_text("the cat sat on the mat " * 9)
    shards = prepare([tmp_path / "a.txt"], model.tokenizer, tmp_path / "shards")
    data = make_dataset(shards, context_length=8, batch_size=2)
    assert np.isfinite(model.fit(data, steps_per_epoch=2, verbose=0).history["loss"][0])


def test_fractions_as_ids():
    advice = "Encode the text with the tokenizer of this model."
    told(lambda: fit(IDS + 0.5, TARGETS), advice)
    model = text_model()
    model.compile("sgd")
    assert fit(np.array([model.tokenizer.encode("the cat sat on the")]), None, model)


@pytest.mark.parametrize("wrong", [-1, 300])
def test_targets_outside_the_vocabulary(wrong):
    targets = TARGETS.copy()
    targets[0, 0] = wrong
    told(lambda: fit(IDS, targets), "-100")
    targets[0, 0] = -100
    assert fit(IDS, targets)


def test_a_warm_up_without_an_end():
    def optimizer(**changes):
        return make_optimizer(1e-3, **changes)

    told(lambda: optimizer(warmup_steps=5), "Set `total_steps`, or leave out `warmup_steps`.")
    assert optimizer(warmup_steps=5, total_steps=10)
    assert optimizer()
    told(lambda: optimizer(clip_norm=0), "Use None for no limit.")
    told(lambda: optimizer(ema=1.0), "Use None for no average.")
    assert optimizer(clip_norm=None, ema=None).global_clipnorm is None


@pytest.mark.parametrize("total_steps", [1, 2, 40])
def test_a_warm_up_of_all_steps(total_steps):
    def schedule(**changes):
        return make_schedule(1e-3, total_steps, **changes)

    made = follow(schedule, "Use, for example, warmup_steps=", warmup_steps=total_steps)
    assert float(made(total_steps)) > 0
    told(lambda: make_schedule(1e-3, 0), "Use the number of batches to train on.")
