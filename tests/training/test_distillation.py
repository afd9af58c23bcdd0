"""A student's loss in chunks equals the formula on all logits; the step, options, errors."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras import GPT2Config
from gpt2_keras.training.distillation import Distillation, StoredLogits
from tests import models
from tests.models import random_ids, random_model, text_model

ROWS, WIDTH, VOCAB, TEACHER_WIDTH = 11, 8, 23, 8
ALPHAS = {"temperature": 3.0, "alpha_ce": 0.7, "alpha_clm": 0.4, "alpha_cos": 0.3}
CONFIG = GPT2Config(
    vocab_size=23, context_length=6, num_layers=2, num_heads=2, hidden_dim=8, dropout_rate=0.0
)


def numbers():
    """States, tables, targets and weights of a student and its teacher, float64."""
    random = np.random.default_rng(0)
    states, teacher_states = random.normal(size=(2, ROWS, WIDTH))
    table, teacher_table = random.normal(size=(2, VOCAB, WIDTH))
    targets = random.integers(0, VOCAB, ROWS)
    weights = random.random(ROWS) * (random.random(ROWS) > 0.3)
    targets[weights == 0] = -100
    return states, table, targets, weights, teacher_states, teacher_table


def log_softmax(logits):
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def per_token(logits, targets, teacher_logits, temperature, alpha_ce, alpha_clm):
    """The loss of each token, and its gradient with respect to the logits: the formula itself."""
    rows, known = np.arange(len(targets)), np.maximum(targets, 0)
    hard, soft = log_softmax(logits), log_softmax(logits / temperature)
    theirs = log_softmax(teacher_logits / temperature)
    cross_entropy = -hard[rows, known]
    with np.errstate(invalid="ignore"):  # 0 · -inf, of tokens that a teacher leaves out
        terms = np.where(np.exp(theirs) > 0, np.exp(theirs) * (theirs - soft), 0)
    losses = alpha_clm * cross_entropy + alpha_ce * temperature**2 * terms.sum(axis=-1)
    one_hot = np.eye(logits.shape[1])[known]
    gradient = alpha_clm * (np.exp(hard) - one_hot)
    gradient += alpha_ce * temperature * (np.exp(soft) - np.exp(theirs))
    return losses, cross_entropy, gradient


def rest_in_proportion(logits, teacher_logits, temperature, top_k):
    """A teacher's logits, those below the largest replaced: together they have the probability
    that they had, among each other the proportions of the student.
    """
    least = np.sort(teacher_logits, axis=1)[:, -top_k][:, None]
    is_other = teacher_logits < least
    others = np.where(is_other, np.exp(teacher_logits / temperature), 0).sum(axis=1, keepdims=True)
    own = np.where(is_other, np.exp(logits / temperature), 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        replaced = temperature * np.log(others * own / own.sum(axis=1, keepdims=True))
    return np.where(is_other, replaced, teacher_logits)


def expected(alpha_cos=0.0, top_k=None, **alphas):
    """Loss, cross entropy and both gradients in float64."""
    states, table, targets, weights, teacher_states, teacher_table = numbers()
    teacher_logits, logits = teacher_states @ teacher_table.T, states @ table.T
    if top_k is not None:
        teacher_logits = rest_in_proportion(logits, teacher_logits, alphas["temperature"], top_k)
    losses, cross_entropy, gradient = per_token(logits, targets, teacher_logits, **alphas)
    gradient *= weights[:, None]
    of_states = gradient @ table
    norms = np.linalg.norm(states, axis=1, keepdims=True)
    ours, theirs = states / norms, teacher_states / np.linalg.norm(teacher_states, axis=1)[:, None]
    cosines = (ours * theirs).sum(axis=1, keepdims=True)
    losses = losses + alpha_cos * (1 - cosines[:, 0])
    of_states -= alpha_cos * weights[:, None] * (theirs - cosines * ours) / norms
    return (losses * weights).sum(), (cross_entropy * weights).sum(), of_states, gradient.T @ states


def found(distillation, chunk_rows, top_k=None):
    """The same by `Distillation`, with gradients by TensorFlow."""
    states, table, targets, weights, *teacher = map(tf.constant, numbers())
    states, table, weights = (tf.cast(each, tf.float32) for each in (states, table, weights))
    teacher = tuple(tf.cast(each, tf.float32) for each in teacher)
    if top_k is not None:
        logits = teacher[0] @ tf.transpose(teacher[1])
        largest, ids = tf.math.top_k(logits, top_k)
        scaled = tf.where(logits < largest[:, -1:], logits / distillation.temperature, -np.inf)
        rest = distillation.temperature * tf.reduce_logsumexp(scaled, axis=1, keepdims=True)
        teacher = StoredLogits(ids, tf.concat([largest, rest], axis=1))
    with tf.GradientTape() as tape:
        tape.watch([states, table])
        total, cross_entropy = distillation.loss_sums(
            states, table, targets, weights, teacher=teacher, chunk_rows=chunk_rows
        )
    return [total, cross_entropy, *tape.gradient(total, [states, table])]


def assert_equal(found, expected):
    """float32: each number is a sum of at most a few hundred products; 1e-6 of the largest."""
    for ours, exact in zip(found, expected, strict=True):
        largest = np.abs(exact).max()
        np.testing.assert_allclose(np.array(ours), exact, rtol=0, atol=1e-6 * largest)


@pytest.mark.parametrize("chunk_rows", [1, 4, 11, 64])
def test_loss_and_gradients_equal_those_on_all_logits(chunk_rows):
    assert_equal(
        found(Distillation(random_model(CONFIG), **ALPHAS), chunk_rows), expected(**ALPHAS)
    )


@pytest.mark.parametrize("top_k", [1, 5, VOCAB])
def test_stored_logits_equal_a_teacher_whose_other_tokens_are_in_the_students_proportions(top_k):
    alphas = {**ALPHAS, "alpha_cos": 0.0}
    assert_equal(found(Distillation("stored", **alphas), 4, top_k), expected(top_k=top_k, **alphas))


def test_it_equals_keras_distillation_without_masks():
    """Keras' own mean over all positions; it clips probabilities at 1e-7, which changes little.

    With its default, the name "kl_divergence", Keras 3.15 takes the divergence of raw logits.
    """
    random = np.random.default_rng(1)
    ours, theirs = random.normal(size=(2, 3, 5, 7)).astype("float32")
    keras_loss = keras.distillation.LogitsDistillation(
        temperature=2.0, loss=keras.losses.KLDivergence()
    )
    reference = float(keras_loss.compute_loss(tf.constant(theirs), tf.constant(ours)))
    eye = tf.eye(7)
    total, _ = Distillation(random_model(CONFIG), alpha_ce=1.0, alpha_clm=0.0).loss_sums(
        tf.reshape(ours, (15, 7)),
        eye,
        tf.zeros(15, tf.int32),
        tf.ones(15),
        teacher=(tf.reshape(theirs, (15, 7)), eye),
    )
    assert float(total) / 15 == pytest.approx(reference, rel=1e-5)


def batch():
    ids = random_ids((4, 7), CONFIG)
    targets = ids[:, 1:].copy()
    targets[1, 3:] = -100
    return ids[:, :-1], targets, np.linspace(0.5, 2.0, 4, dtype="float32")


def step(teacher, *, student=None, data=None, **options):
    """A student after one step of SGD, and the logs."""
    student = student or random_model(CONFIG, seed=3)
    student.compile(keras.optimizers.SGD(0.1), distill_from=teacher, **options)
    return student, student.train_on_batch(*(data or batch()), return_dict=True)


def test_a_step_minimizes_the_formula_of_both_models_logits():
    teacher, student = random_model(CONFIG, seed=2), random_model(CONFIG, seed=3)
    ids, targets, row_weights = batch()
    weights = (targets >= 0) * row_weights[:, None]
    logits, theirs = (np.array(it(ids), "float64").reshape(-1, 23) for it in (student, teacher))
    losses, cross_entropy, _ = per_token(logits, targets.ravel(), theirs, 2.0, 0.5, 0.5)
    _, logs = step(teacher, student=student)
    mean = (losses * weights.ravel()).sum() / weights.sum()
    # The network's logits are off by some 1e-5 from one compilation to another.
    assert logs["loss"] == pytest.approx(mean, rel=1e-5)
    mean = (cross_entropy * weights.ravel()).sum() / weights.sum()
    assert logs["cross_entropy"] == pytest.approx(mean, rel=1e-5)
    assert logs["perplexity"] == pytest.approx(np.exp(mean), rel=1e-4)


def test_a_student_learns_and_its_teacher_stays_as_it_is():
    teacher = random_model(CONFIG, seed=2)
    before = teacher.get_weights()
    student = random_model(CONFIG, seed=3, scale=0.1)
    ids, targets, _ = batch()
    optimizer = keras.optimizers.Adam(1e-2)
    student.compile(optimizer, distill_from=teacher, alpha_ce=1.0, alpha_clm=0.0)
    losses = student.fit(ids, targets, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    for weight, value in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert len(student.trainable_variables) == len(student.weights) == len(before)


@pytest.mark.parametrize("eager", [False, True])
def test_micro_batches_change_nothing(eager):
    teacher = random_model(CONFIG, seed=2)
    options = {"alpha_cos": 0.2, "run_eagerly": eager, "jit_compile": False}
    whole, logs = step(teacher, **options)
    split, split_logs = step(teacher, accumulation_steps=3, **options)
    for name, value in logs.items():
        assert split_logs[name] == pytest.approx(value, rel=1e-5), name
    for one, other in zip(whole.get_weights(), split.get_weights(), strict=True):
        # A step of 0.1 times gradients below 1, which are sums of some hundred roundings.
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_evaluation_is_the_cross_entropy_without_the_teacher():
    student, _ = step(random_model(CONFIG, seed=2))
    ids, targets, weights = batch()
    sizes = {"sample_weight": weights, "batch_size": 4, "verbose": 0, "return_dict": True}
    found = student.evaluate(ids, targets, **sizes)
    plain = random_model(CONFIG)
    plain.set_weights(student.get_weights())
    plain.compile()
    expected = plain.evaluate(ids, targets, **sizes)
    assert found["loss"] == found["cross_entropy"] == pytest.approx(expected["loss"], rel=1e-6)


def test_stored_logits_in_a_batch_equal_the_teacher_itself():
    teacher = random_model(CONFIG, seed=2)
    ids, targets, weights = batch()
    logits, top = map(np.array, tf.math.top_k(teacher(ids), 23))
    logits = np.concatenate([logits, np.full((4, 6, 1), -1e4)], axis=-1)  # of no other token
    stored = {"token_ids": ids, "teacher_ids": top, "teacher_logits": logits}
    _, logs = step("stored", data=(stored, targets, weights))
    _, expected = step(teacher)
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-5), name


def test_stored_logits_go_with_token_ids_alone_and_are_ignored_by_other_models():
    ids = random_ids((4, 6), CONFIG)
    stored = {
        "token_ids": ids,
        "teacher_ids": np.tile(np.arange(3), (4, 6, 1)),
        "teacher_logits": np.zeros((4, 6, 4), "float16"),
    }
    student, logs = step("stored", data=(stored,))
    assert logs["loss"] > 0
    data = tf.data.Dataset.from_tensor_slices((stored, ids)).batch(2)
    assert student.fit(data, verbose=0).history["loss"][0] > 0
    student.compile()
    assert student.metrics_names == ["loss"]
    assert student.fit(data, verbose=0).history["loss"][0] > 0
    assert student.predict(data, verbose=0).shape == (4, 6, 23)


def test_a_file_of_the_student_does_not_hold_the_teacher(tmp_path):
    student, _ = step(random_model(CONFIG, seed=2), accumulation_steps=2)
    student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    assert loaded.step_options.distillation is None
    assert loaded.step_options.accumulation_steps == 2
    assert len(loaded.weights) == len(student.weights)


BATCH = batch()
PARTS = {"teacher_ids": np.zeros((4, 6, 3), int), "teacher_logits": np.zeros((4, 6, 4))}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"distill_from": 3}, TypeError, "distill_from=3 is an int. Use a model, or"),
        ({"distill_from": "a"}, TypeError, "distill_from='a' is a str. Use a model, or"),
        ({"temperature": 3.0}, ValueError, "temperature=3.0 is without effect, as there is no"),
        ({"alpha_cos": 0.5}, ValueError, "alpha_cos=0.5 is without effect"),
        ({"distill_from": "stored", "temperature": 0}, ValueError, "temperature=0"),
        ({"distill_from": "stored", "alpha_ce": -1}, ValueError, "alpha_ce=-1"),
        (
            {"distill_from": "stored", "alpha_ce": 0, "alpha_clm": 0},
            ValueError,
            "alpha_ce=0, alpha_clm=0, alpha_cos=0 leave no loss",
        ),
        ({"distill_from": "stored", "alpha_cos": 1}, ValueError, "alpha_cos=1 compares hidden"),
        (
            {"distill_from": "stored", "loss": "kl_divergence"},
            ValueError,
            "kl_divergence",
        ),
    ],
)
def test_options_that_do_not_fit(options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        random_model(CONFIG).compile(**options)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"vocab_size": 24}, {}, "another vocabulary, of 24 tokens, than the student, with 23"),
        ({"context_length": 5}, {}, "context_length=6, and the teacher of context_length=5"),
        (
            {"hidden_dim": 4},
            {"alpha_cos": 0.5},
            "alpha_cos=0.5 compares hidden states of the width 8 of the student with 4",
        ),
    ],
)
def test_a_teacher_that_does_not_fit(changes, options, message):
    teacher = random_model(GPT2Config(**{**CONFIG.to_dict(), "intermediate_dim": None, **changes}))
    with pytest.raises(ValueError, match=re.escape(message)):
        random_model(CONFIG).compile(distill_from=teacher, **options)


def test_a_teacher_of_another_tokenizer_of_the_same_size_or_of_another_loss():
    student, teacher = text_model(), text_model()
    teacher.tokenizer = (
        type(teacher.tokenizer)
        .train(["xyz" * 50], 257)
        .with_special_tokens([f"<{number}>" for number in range(23)])
    )
    with pytest.raises(ValueError, match="another vocabulary, of 280 tokens, than the student"):
        student.compile(distill_from=teacher)
    with pytest.raises(ValueError, match="distill_from is the student itself"):
        student.compile(distill_from=student)
    with pytest.raises(ValueError, match="distill_from=GPT2LM needs the default loss"):
        student.compile(distill_from=models.text_model(), loss_weights=[2.0])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (BATCH[0], "the batch has no teacher_ids and teacher_logits"),
        ({"token_ids": BATCH[0], "teacher_ids": PARTS["teacher_ids"]}, "of the shapes"),
        (
            {"token_ids": BATCH[0], **PARTS, "teacher_logits": np.zeros((4, 6, 3))},
            "'teacher_logits': (4, 6, 3)",
        ),
        ({"token_ids": BATCH[0][:, :5], **PARTS}, "teacher_logits of (4, 6, 4)"),
    ],
)
def test_batches_whose_stored_logits_do_not_fit(x, message):
    targets = BATCH[1][:, : 5 if "(4, 6, 4)" in message else 6]
    with pytest.raises(ValueError, match=re.escape(message)):
        step("stored", data=(x, targets))
