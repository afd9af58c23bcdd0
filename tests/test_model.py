import keras
import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras import GPT2LM, GPT2Config, GPT2Tokenizer
from tests import reference
from tests.bfloat16 import needs_bfloat16
from tests.models import TINY, random_ids, random_model, text_model, weights_of

# A logit of TINY passes some 200 roundings one after the other (2 blocks of sums of 16 to 64
# terms), each of at most 6e-8 of the largest value: √200 · 6e-8 = 8e-7, random as they are. Ten
# times that; a wrong mask, position or scale changes logits by more than 1e-2.
ROUNDING = 1e-5


def assert_close(found, expected, scale=None):
    """Equal up to the rounding of float32, of the largest value."""
    scale = np.abs(expected).max() if scale is None else scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * scale)


@pytest.mark.parametrize("position_embedding", ["learned", "sinusoidal"])
def test_logits_and_hidden_states_equal_the_oracle(position_embedding):
    config = GPT2Config(**{**TINY.to_dict(), "position_embedding": position_embedding})
    model = random_model(config)
    ids = random_ids((3, 17))
    weights = weights_of(model)
    logits = reference.logits(weights, ids, config.num_heads)
    scale = np.abs(logits).max()
    assert scale > 1  # so that the comparison means something
    assert_close(model(ids), logits)
    expected = reference.hidden_states(weights, ids, config.num_heads)
    states = model.hidden_states(ids)
    assert len(states) == config.num_layers + 1
    for state, oracle in zip(states, expected, strict=True):
        assert_close(state, oracle)


def test_logits_at_the_published_initialisation_equal_the_oracle_to_1e_5():
    model = GPT2LM(TINY)
    ids = random_ids((2, 32))
    expected = reference.logits(weights_of(model), ids, TINY.num_heads)
    assert_close(model(ids), expected, scale=1)


def test_a_later_token_never_changes_an_earlier_output():
    model = random_model()
    ids = random_ids((2, 12))
    before = np.array(model(ids))
    for position in range(12):
        changed = ids.copy()
        changed[:, position] = (changed[:, position] + 1) % TINY.vocab_size
        after = np.array(model(changed))
        assert_close(after[:, :position], before[:, :position], np.abs(before).max())
        assert np.abs(before[:, position] - after[:, position]).max() > 1e-2


def test_cached_decoding_equals_the_full_pass_for_every_prefix():
    model = random_model()
    ids = random_ids((2, 12))
    full = np.array(model(ids))
    for prefix in range(1, 12):
        cache = model.make_cache(2, 12)
        logits, cache = model(ids[:, :prefix], cache=cache)
        assert_close(logits, full[:, :prefix])
        for position in range(prefix, 12):
            logits, cache = model(
                ids[:, position : position + 1], cache=cache, cache_index=position
            )
            assert_close(logits[:, 0], full[:, position])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_row_has_the_logits_it_has_alone(side):
    model = random_model()
    long, short = random_ids((1, 9)), random_ids((1, 5), seed=1)
    padded = np.zeros((2, 9), "int32")
    padded[0] = long
    columns = slice(4, 9) if side == "left" else slice(0, 5)
    padded[1, columns] = short
    mask = np.ones((2, 9), bool)
    mask[1] = False
    mask[1, columns] = True
    logits = np.array(model(padded, padding_mask=mask))
    assert_close(logits[0], np.array(model(long)[0]))
    assert_close(logits[1, columns], np.array(model(short)[0]))


def test_num_logits_are_the_last_ones():
    model = random_model()
    ids = random_ids((2, 7))
    assert_close(model(ids, num_logits=2), np.array(model(ids)[:, -2:]))


def test_the_gradient_flows_to_every_weight():
    model = random_model()
    ids = random_ids((2, 8))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(ids, training=True) ** 2)
    weights = [variable.value for variable in model.trainable_variables]
    for variable, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        dense = tf.convert_to_tensor(gradient)
        assert np.isfinite(dense).all()
        # Keys may have a bias without any effect; queries and values make up for it in qkv.
        assert np.abs(dense).max() > 0, variable.name


def test_initial_weights_have_the_published_deviations():
    config = GPT2Config(**{**TINY.to_dict(), "hidden_dim": 128, "num_layers": 2})
    model = GPT2LM(config)
    block = model.decoder.blocks[0]
    # 128 × 128 samples or more: one deviation of the estimate is below 0.6 %.
    spreads = [
        (
            0.02,
            [
                model.token_embedding.embeddings,
                block.attention.qkv.kernel,
                block.feed_forward.expand.kernel,
            ],
        ),
        (0.01, [model.position_embedding.embeddings]),
        # Two layers are four additions to the residual stream: 0.02 / √4.
        (0.01, [block.attention.output_projection.kernel, block.feed_forward.project.kernel]),
    ]
    for spread, variables in spreads:
        for variable in variables:
            assert np.std(variable.numpy()) == pytest.approx(spread, rel=0.05), variable.path
    for variable in model.trainable_variables:
        if variable.name in ("bias", "beta"):
            assert not np.any(variable.numpy())
        if variable.name == "gamma":
            assert np.all(variable.numpy() == 1)


def test_dropout_is_where_gpt2_has_it():
    model = GPT2LM(GPT2Config(**{**TINY.to_dict(), "dropout_rate": 0.25}))
    dropouts = [
        layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)
    ]
    # After the embeddings; in each block on attention weights and on two sub-layers' outputs.
    assert len(dropouts) == 1 + 3 * TINY.num_layers
    assert {layer.rate for layer in dropouts} == {0.25}
    ids = random_ids((1, 8))
    assert np.abs(np.array(model(ids, training=True)) - np.array(model(ids))).max() > 1e-3


@pytest.mark.parametrize(
    "policy", [pytest.param("mixed_bfloat16", marks=needs_bfloat16), "mixed_float16"]
)
def test_mixed_precision_computes_and_trains(policy):
    config = GPT2Config(**{**TINY.to_dict(), "vocab_size": 16})
    exact, mixed = random_model(config, scale=0.05), random_model(config, scale=0.05, dtype=policy)
    ids = random_ids((4, 8), config)
    logits = mixed(ids)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    # bfloat16 rounds to 2⁻⁹ = 0.002 of a value; some 200 times on logits below 1.
    np.testing.assert_allclose(logits, exact(ids), rtol=0, atol=0.05)
    assert mixed.decoder.compute_dtype == policy.removeprefix("mixed_")
    mixed.compile()
    history = mixed.fit(ids, np.roll(ids, -1, axis=1), epochs=30, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < history[0] - 0.1


def test_fit_reports_perplexity_as_the_exponential_of_the_loss():
    model = random_model()
    model.compile()
    ids = random_ids((4, 8))
    logs = model.fit(ids, ids, validation_data=(ids, ids), verbose=0).history
    assert logs["perplexity"][0] == pytest.approx(np.exp(logs["loss"][0]), rel=1e-5)
    assert logs["val_perplexity"][0] == pytest.approx(np.exp(logs["val_loss"][0]), rel=1e-5)


def test_a_keras_file_brings_back_weights_and_tokenizer(tmp_path):
    model = text_model()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    ids = random_ids((2, 8), model.config)
    assert_close(loaded(ids), np.array(model(ids)))
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert loaded.config == model.config
    assert loaded.tokenizer == model.tokenizer


def test_a_keras_file_of_a_model_without_tokenizer_loads(tmp_path):
    random_model().save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").tokenizer is None


def test_weights_are_there_before_any_data():
    assert GPT2LM(TINY).count_params() == TINY.num_parameters


def test_ids_outside_the_vocabulary_are_an_error():
    model = GPT2LM(TINY)
    with pytest.raises(ValueError, match=r"^Token id 300 is not .* below vocab_size=300"):
        model(np.array([[1, 300]]))
    with pytest.raises(ValueError, match=r"^Token id -1 is not"):
        model([[-1]])


def test_more_tokens_than_the_context_are_an_error():
    with pytest.raises(ValueError, match=r"33 tokens are more than context_length=32"):
        GPT2LM(TINY)(random_ids((1, 33)))


def test_a_tokenizer_of_another_vocabulary_is_an_error():
    tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
    with pytest.raises(ValueError, match=r"tokenizer.vocab_size=257 is not config.vocab_size=300"):
        GPT2LM(TINY, tokenizer)


def test_text_without_a_tokenizer_is_an_error():
    with pytest.raises(ValueError, match=r"^The model has no tokenizer, which text needs"):
        GPT2LM(TINY).generate("a")


def test_a_clone_has_the_tokenizer():
    model = text_model()
    clone = keras.models.clone_model(model)
    assert clone.tokenizer == model.tokenizer
    assert clone.config == model.config
    clone.set_weights(model.get_weights())
    assert clone.generate("the cat", max_new_tokens=4) == model.generate(
        "the cat", max_new_tokens=4
    )


CALIBRATION = {"dataset": ["a"], "tokenizer": lambda _: [1]}
QUANTIZATIONS = {
    "int8": None,
    "int4": None,
    "float8": None,
    "gptq": keras.quantizers.GPTQConfig(**CALIBRATION),
    "awq": keras.quantizers.AWQConfig(**CALIBRATION),
}


@pytest.mark.parametrize("mode", QUANTIZATIONS)
def test_keras_quantization_is_refused_by_the_model_and_its_products(mode):
    model = random_model()
    before = model.get_weights()
    config = QUANTIZATIONS[mode]
    with pytest.raises(ValueError, match=rf"^quantize\(mode='{mode}'\) was called.*dtype=\"int8\""):
        model.quantize(mode, config=config)
    with pytest.raises(NotImplementedError, match="Projection does not have a `quantize` method"):
        model.decoder.blocks[0].attention.output_projection.quantize(mode, config=config)
    for value, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


FORMS = {
    "one row": ([1, 2], ValueError, r"token_ids has the shape \(2,\)\. Use \(batch, time\)"),
    "a number": (np.array(5), ValueError, r"token_ids has the shape \(\)\."),
    "rows of two lengths": ([[1, 2], [3]], ValueError, r"\[\[1, 2\], \[3\]\] has rows of several"),
    "ragged": (tf.ragged.constant([[1], [1, 2]]), ValueError, r"Pad them by `token_ids.to_tensor"),
    "a text": ("the", TypeError, "token_ids='the' is of the type str.*`model.generate`"),
    "texts": (np.array([["the"]]), TypeError, r"has the dtype str96\. Use integers"),
    "a tensor of texts": (tf.constant(["the"]), TypeError, r"has the dtype string\."),
    "flags": (np.array([[True]]), TypeError, r"has the dtype bool\."),
    "a dictionary": ({"token_ids": [[1]]}, TypeError, "is of the type dict"),
    "nothing": (None, TypeError, "token_ids=None is of the type NoneType"),
}


@pytest.mark.parametrize("case", FORMS)
def test_token_ids_of_another_form_are_refused(case):
    token_ids, error, message = FORMS[case]
    with pytest.raises(error, match=message):
        random_model()(token_ids)


def test_a_list_of_rows_is_a_batch():
    model = random_model()
    np.testing.assert_array_equal(model([[1, 2, 3]]), model(np.array([[1, 2, 3]])))
