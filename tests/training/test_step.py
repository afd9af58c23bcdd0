"""A step is the same however the batch is split, and equals Keras' own on all logits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras import GPT2Config, GPT2Tokenizer
from gpt2_keras.layers.kernels import portable
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.training import IGNORED_TARGET, AdamW, StepOptions
from tests import models
from tests.bfloat16 import needs_bfloat16
from tests.models import CORPUS, random_ids
from tests.training.tolerances import (
    MODEL_SEED,
    adamw_tolerance,
    assert_no_gradient_is_near_zero,
    sgd_tolerance,
)

CONFIG = GPT2Config(
    vocab_size=12, context_length=6, num_layers=1, num_heads=2, hidden_dim=8, dropout_rate=0.0
)
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.5),
    "adamw": lambda: AdamW(1e-3, weight_decay=0.1, beta_2=0.95, global_clipnorm=0.5),
}
STEPS, CLIP_NORM = 3, 0.5
# Sums in another order, after three steps; see tolerances.py.
TOLERANCES = {
    "sgd": sgd_tolerance(0.1, CLIP_NORM, momentum=0.9, steps=STEPS),
    "adamw": adamw_tolerance(1e-3, STEPS),
}
# Losses and norms are sums of up to 48 terms: √48 / 2 roundings, twice that.
LOG_TOLERANCE = 1e-6


def random_model(config, tokenizer=None, **kwargs):
    """A model of which no gradient is near zero, which AdamW would take for a whole step."""
    return models.random_model(config, tokenizer, seed=MODEL_SEED, **kwargs)


def batch(rows=4):
    """Rows of unequal padding and unequal weight."""
    ids = random_ids((rows, 7), CONFIG)
    targets = ids[:, 1:].copy()
    for row in range(rows):
        targets[row, 6 - row % 4 :] = IGNORED_TARGET
    sample_weight = np.linspace(0.5, 2.0, rows, dtype="float32")
    return ids[:, :-1], targets, sample_weight


def train(optimizer, *, steps=STEPS, config=CONFIG, dtype="float32", eager=True, **options):
    """A model after some steps on one batch, and the logs of the last one."""
    keras.utils.set_random_seed(0)
    model = random_model(config, dtype=dtype)
    model.compile(optimizer=optimizer, jit_compile=False, run_eagerly=eager, **options)
    logs = None
    for _ in range(steps):
        logs = model.train_on_batch(*batch(), return_dict=True)
    return model, logs


def weights(model):
    """All but the biases of the keys, which have no effect: a softmax ignores what is added to
    all scores. Their gradients are rounding errors, and AdamW takes whole steps by them.
    """
    values = [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]
    for weight, value in zip(model.weights, values, strict=True):
        if weight.path.endswith("qkv/bias"):
            np.split(value, 3)[1][:] = 0
    return values


def assert_same(model, other, atol):
    for ours, theirs in zip(weights(model), weights(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def whole():
    """Models trained on whole batches, by their optimizer."""
    return {name: train(make()) for name, make in OPTIMIZERS.items()}


def gradients(model):
    """The gradients of the loss on the batch, without the biases of the keys."""
    inputs, targets, sample_weight = batch()
    safe = np.where(targets == IGNORED_TARGET, 0, targets)
    counts = (targets != IGNORED_TARGET) * sample_weight[:, None]
    with tf.GradientTape() as tape:
        logits = model(inputs)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=safe, logits=logits)
        mean = tf.reduce_sum(losses * counts) / counts.sum()
    variables = model.trainable_variables
    found = [
        np.array(tf.convert_to_tensor(each))
        for each in tape.gradient(mean, [variable.value for variable in variables])
    ]
    return [
        np.delete(value, np.s_[8:16]) if variable.path.endswith("qkv/bias") else value
        for variable, value in zip(variables, found, strict=True)
    ]


def test_no_gradient_of_these_models_is_near_zero():
    model, _ = train(OPTIMIZERS["adamw"](), steps=0)
    for _ in range(STEPS):
        assert_no_gradient_is_near_zero(gradients(model))
        model.train_on_batch(*batch())


@pytest.mark.parametrize(
    ("name", "count", "eager"),
    [("sgd", 3, True), ("adamw", 2, True), ("adamw", 3, False)],
)
def test_any_number_of_micro_batches_takes_the_same_step(whole, name, count, eager):
    expected, expected_logs = whole[name]
    model, logs = train(OPTIMIZERS[name](), accumulation_steps=count, eager=eager)
    assert_same(model, expected, TOLERANCES[name])
    for key in ("loss", "gradient_norm"):
        np.testing.assert_allclose(logs[key], expected_logs[key], rtol=STEPS * LOG_TOLERANCE)
    assert logs["gradient_norm"] > CLIP_NORM  # so clipping took part
    start = random_model(CONFIG)
    moved = [np.abs(a - b).max() for a, b in zip(weights(model), weights(start), strict=True)]
    assert min(moved) > 1e-3  # every weight learns


def test_the_step_equals_keras_own_on_all_logits():
    full = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=IGNORED_TARGET, name="full_logits"
    )
    inputs, targets, _ = batch()
    trained, losses = [], []
    for kind in ("auto", full):
        model, _ = train(OPTIMIZERS["sgd"](), steps=0, loss=kind)
        for _ in range(3):
            logs = model.train_on_batch(inputs, targets, return_dict=True)
        assert ("gradient_norm" in logs) == (kind == "auto")  # Keras' own step knows none
        trained.append(model)
        losses.append(logs["loss"])
    assert_same(*trained, TOLERANCES["sgd"])
    np.testing.assert_allclose(*losses, rtol=STEPS * LOG_TOLERANCE)


def test_many_chunks_of_logits_take_the_same_step(whole, monkeypatch):
    monkeypatch.setattr(portable, "CHUNK_BYTES", 4 * CONFIG.vocab_size * 4)
    model, _ = train(OPTIMIZERS["adamw"]())
    assert_same(model, whole["adamw"][0], TOLERANCES["adamw"])


@pytest.mark.parametrize(
    ("dtype", "epsilon"),
    [pytest.param("mixed_bfloat16", 2**-7, marks=needs_bfloat16), ("mixed_float16", 2**-10)],
)
def test_micro_batches_take_the_same_step_in_mixed_precision(dtype, epsilon):
    # Gradients of the micro-batches are rounded before they are summed.
    atol = sgd_tolerance(0.1, CLIP_NORM, momentum=0.9, steps=STEPS, epsilon=epsilon)
    expected, _ = train(OPTIMIZERS["sgd"](), dtype=dtype)
    model, _ = train(OPTIMIZERS["sgd"](), dtype=dtype, accumulation_steps=3)
    assert_same(model, expected, atol)
    if dtype == "mixed_float16":
        for name in ("dynamic_scale", "step_counter"):
            ours, theirs = getattr(model.optimizer, name), getattr(expected.optimizer, name)
            assert float(ours) == float(theirs)


@pytest.mark.parametrize("count", [1, 2])
def test_gradients_that_overflow_are_dropped_and_halve_the_scale(count):
    inner = OPTIMIZERS["sgd"]()
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**20)
    model, _ = train(optimizer, steps=1, dtype="mixed_float16", accumulation_steps=count)
    assert float(optimizer.dynamic_scale) == 2.0**19
    assert_same(model, random_model(CONFIG), 0)
    for _ in range(6):
        logs = model.train_on_batch(*batch(), return_dict=True)
    assert 2.0**10 < float(optimizer.dynamic_scale) < 2.0**19
    assert np.isfinite(logs["gradient_norm"])
    assert all(np.isfinite(weight).all() for weight in weights(model))


def test_without_targets_nothing_is_learned():
    model, _ = train(keras.optimizers.SGD(0.1), steps=0)
    inputs, targets, _ = batch()
    ignored = np.full_like(targets, IGNORED_TARGET)
    logs = model.train_on_batch(inputs, ignored, return_dict=True)
    assert (logs["loss"], logs["gradient_norm"]) == (0, 0)
    assert_same(model, random_model(CONFIG), 0)


def oracle(model, inputs, targets, sample_weight):
    """Loss and accuracy over the tokens that count, in float64."""
    logits = keras.ops.convert_to_numpy(model(inputs)).astype("float64")
    counts = (targets != IGNORED_TARGET) * sample_weight[:, None]
    safe = np.where(targets == IGNORED_TARGET, 0, targets)
    log_sums = np.log(np.exp(logits).sum(-1))
    losses = log_sums - np.take_along_axis(logits, safe[..., None], -1)[..., 0]
    hits = logits.argmax(-1) == safe
    return (losses * counts).sum() / counts.sum(), (hits * counts).sum() / counts.sum()


@pytest.mark.parametrize("count", [1, 2])
def test_compiled_metrics_are_those_of_the_tokens_that_count(count):
    model, _ = train(
        keras.optimizers.SGD(0.1), steps=0, weighted_metrics=["accuracy"], accumulation_steps=count
    )
    expected = oracle(model, *batch())
    evaluated = model.test_on_batch(*batch(), return_dict=True)
    model.reset_metrics()
    trained = model.train_on_batch(*batch(), return_dict=True)
    for logs in (evaluated, trained):
        np.testing.assert_allclose((logs["loss"], logs["accuracy"]), expected, rtol=1e-5)
    assert 0 < expected[1] < 1


def test_evaluation_weighs_batches_by_their_tokens():
    model, _ = train(keras.optimizers.SGD(0.1), steps=0)
    inputs, targets, sample_weight = batch()
    found = model.evaluate(
        inputs, targets, sample_weight=sample_weight, batch_size=2, verbose=0, return_dict=True
    )
    np.testing.assert_allclose(found["loss"], oracle(model, *batch())[0], rtol=1e-5)


def test_a_keras_file_keeps_the_options(tmp_path):
    config = GPT2Config(**{**CONFIG.to_dict(), "vocab_size": 280})
    model = random_model(config, GPT2Tokenizer.train(CORPUS, vocab_size=280))
    model.compile(accumulation_steps=2, remat=True, document_masking=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.step_options == StepOptions(2, remat=True, document_masking=True)
    assert loaded.decoder.remat


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, r"^accumulation_steps=0 is less than 1\."),
        (-2, ValueError, r"^accumulation_steps=-2 is less than 1\."),
        (2.0, TypeError, r"^accumulation_steps=2\.0 is a float\."),
        (float("nan"), TypeError, r"^accumulation_steps=nan is a float\."),
        (True, TypeError, r"^accumulation_steps=True is a bool\."),
    ],
)
def test_a_wrong_number_of_micro_batches_is_an_error(value, error, message):
    with pytest.raises(error, match=message):
        random_model(CONFIG).compile(accumulation_steps=value)


@pytest.mark.parametrize("option", ["remat", "document_masking"])
@pytest.mark.parametrize("value", [1, None, "yes", float("nan")])
def test_an_option_that_is_no_bool_is_an_error(option, value):
    with pytest.raises(TypeError, match=rf"^{option}.* Use True or False"):
        random_model(CONFIG).compile(**{option: value})


def test_only_jax_keeps_products():
    message = r"^remat='products' was given, and Keras runs on tensorflow\. .* Use remat=True, or"
    with pytest.raises(ValueError, match=message):
        random_model(CONFIG).compile(remat="products")
    with pytest.raises(ValueError, match=message):
        TrainingSettings(data="shards", tokenizer="tokenizer", remat="products")


def test_options_that_do_not_fit_the_model_are_an_error():
    model = random_model(CONFIG)
    with pytest.raises(ValueError, match=r"accumulation_steps=2 .*loss='mse'"):
        model.compile(loss="mse", accumulation_steps=2)
    with pytest.raises(ValueError, match=r"document_masking=True .*loss='mse'"):
        model.compile(loss="mse", document_masking=True)
    model.compile(document_masking=True, jit_compile=False, run_eagerly=True)
    with pytest.raises(
        ValueError, match=r"^document_masking=True, but the model has tokenizer=None"
    ):
        model.train_on_batch(*batch())
    cache = model.make_cache(1, 6)
    with pytest.raises(ValueError, match=r"segment_ids and a cache were given"):
        model(np.zeros((1, 2), "int32"), segment_ids=np.zeros((1, 2), "int32"), cache=cache)


def test_documents_in_one_window_are_as_if_alone():
    model = random_model(CONFIG)
    first, second = random_ids((1, 2), CONFIG), random_ids((1, 4), CONFIG, seed=1)
    together = np.concatenate([first, second], axis=1)
    logits = model(together, segment_ids=np.array([[0, 0, 1, 1, 1, 1]]))
    alone = np.concatenate([model(first), model(second)], axis=1)
    # Some 100 roundings of logits below 4, at random.
    np.testing.assert_allclose(logits, alone, rtol=0, atol=1e-5)
    assert np.abs(model(together) - alone).max() > 1e-2  # they do mix otherwise


def test_documents_of_one_window_train_as_if_alone():
    tokenizer = GPT2Tokenizer.train(CORPUS, vocab_size=280)
    config = GPT2Config(**{**CONFIG.to_dict(), "vocab_size": 280, "context_length": 8})
    end = tokenizer.end_token_id
    window = np.array([[5, 6, end, 7, 8, 9, end, 4]])
    targets = np.array([[6, end, 7, 8, 9, end, 4, 3]])
    padding = [[0] * 8]
    alone = [np.array(padding) for _ in range(3)], [np.full((1, 8), IGNORED_TARGET)] * 3
    ids, labels = np.concatenate(alone[0]), np.concatenate(alone[1])
    for row, (start, stop) in enumerate([(0, 3), (3, 7), (7, 8)]):
        ids[row, : stop - start] = window[0, start:stop]
        labels[row, : stop - start] = targets[0, start:stop]
    trained = [random_model(config, tokenizer) for _ in range(2)]
    for model, separate in zip(trained, (True, False), strict=True):
        model.compile(
            keras.optimizers.SGD(0.1),
            run_eagerly=True,
            document_masking=separate,
            jit_compile=False,
        )
    norm = trained[0].train_on_batch(window, targets, return_dict=True)["gradient_norm"]
    trained[1].train_on_batch(ids, labels)
    assert_same(*trained, sgd_tolerance(0.1, norm))


def test_rematerialization_changes_neither_masks_nor_gradients():
    config = GPT2Config(**{**CONFIG.to_dict(), "dropout_rate": 0.5})
    plain, kept = train(OPTIMIZERS["adamw"](), config=config, accumulation_steps=2)
    remat, logs = train(
        OPTIMIZERS["adamw"](), config=config, accumulation_steps=2, remat=True, eager=False
    )
    assert_same(remat, plain, TOLERANCES["adamw"])
    np.testing.assert_allclose(
        logs["gradient_norm"], kept["gradient_norm"], rtol=STEPS * LOG_TOLERANCE
    )
