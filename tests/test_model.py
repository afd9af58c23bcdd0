import keras
import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras import GPT2LM, GPT2Config, GPT2Tokenizer
from tests import reference
from tests.models import TINY, random_ids, random_model, text_model, weights_of


@pytest.mark.parametrize("position_embedding", ["learned", "sinusoidal"])
def test_logits_and_hidden_states_equal_the_oracle(position_embedding):
    config = GPT2Config(**{**TINY.to_dict(), "position_embedding": position_embedding})
    model = random_model(config)
    ids = random_ids((3, 17))
    weights = weights_of(model)
    logits = reference.logits(weights, ids, config.num_heads)
    scale = np.abs(logits).max()
    assert scale > 1  # so that the comparison means something
    np.testing.assert_allclose(model(ids), logits, rtol=0, atol=1e-5 * scale)
    expected = reference.hidden_states(weights, ids, config.num_heads)
    states = model.hidden_states(ids)
    assert len(states) == config.num_layers + 1
    for state, oracle in zip(states, expected, strict=True):
        np.testing.assert_allclose(state, oracle, rtol=0, atol=1e-5 * np.abs(oracle).max())


def test_logits_at_the_published_initialisation_equal_the_oracle_to_1e_5():
    model = GPT2LM(TINY)
    ids = random_ids((2, 32))
    expected = reference.logits(weights_of(model), ids, TINY.num_heads)
    np.testing.assert_allclose(model(ids), expected, rtol=0, atol=1e-5)


def test_a_later_token_never_changes_an_earlier_output():
    model = random_model()
    ids = random_ids((2, 12))
    before = np.array(model(ids))
    for place in range(12):
        changed = ids.copy()
        changed[:, place] = (changed[:, place] + 1) % TINY.vocab_size
        after = np.array(model(changed))
        np.testing.assert_allclose(before[:, :place], after[:, :place], rtol=0, atol=1e-5)
        assert np.abs(before[:, place] - after[:, place]).max() > 1e-2


def test_cached_decoding_equals_the_full_pass_for_every_prefix():
    model = random_model()
    ids = random_ids((2, 12))
    full = np.array(model(ids))
    for prefix in range(1, 12):
        cache = model.make_cache(2, 12)
        logits, cache = model(ids[:, :prefix], cache=cache)
        np.testing.assert_allclose(logits, full[:, :prefix], rtol=0, atol=1e-5)
        for place in range(prefix, 12):
            logits, cache = model(ids[:, place : place + 1], cache=cache, cache_index=place)
            np.testing.assert_allclose(logits[:, 0], full[:, place], rtol=0, atol=1e-5)


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
    np.testing.assert_allclose(logits[0], model(long)[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(logits[1, columns], model(short)[0], rtol=0, atol=1e-5)


def test_num_logits_are_the_last_ones():
    model = random_model()
    ids = random_ids((2, 7))
    np.testing.assert_allclose(model(ids, num_logits=2), model(ids)[:, -2:], rtol=0, atol=1e-5)


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


def test_weights_begin_as_openai_published_them():
    config = GPT2Config(**{**TINY.to_dict(), "hidden_dim": 128, "num_layers": 2})
    model = GPT2LM(config)
    block = model.decoder.blocks[0]
    # 128 × 128 draws or more: one deviation of the estimate is below 0.6 %.
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


def test_dropout_is_at_the_three_places_gpt2_has_it():
    model = GPT2LM(GPT2Config(**{**TINY.to_dict(), "dropout_rate": 0.25}))
    dropouts = [
        layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)
    ]
    # After the embeddings; in each block on attention weights and on two sub-layers' outputs.
    assert len(dropouts) == 1 + 3 * TINY.num_layers
    assert {layer.rate for layer in dropouts} == {0.25}
    ids = random_ids((1, 8))
    assert np.abs(np.array(model(ids, training=True)) - np.array(model(ids))).max() > 1e-3


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_and_trains(policy):
    config = GPT2Config(**{**TINY.to_dict(), "vocab_size": 16})
    exact, mixed = random_model(config, scale=0.05), random_model(config, scale=0.05, dtype=policy)
    ids = random_ids((4, 8), config)
    logits = mixed(ids)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    np.testing.assert_allclose(logits, exact(ids), atol=0.05)
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
    np.testing.assert_array_equal(loaded(ids), model(ids))
    assert loaded.config == model.config
    assert loaded.tokenizer == model.tokenizer


def test_a_keras_file_of_a_model_without_tokenizer_loads(tmp_path):
    random_model().save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").tokenizer is None


def test_weights_are_there_before_any_data():
    assert GPT2LM(TINY).count_params() == TINY.num_parameters


def test_ids_outside_the_vocabulary_are_refused():
    model = GPT2LM(TINY)
    with pytest.raises(ValueError, match=r"below vocab_size=300. Received: 300"):
        model(np.array([[1, 300]]))
    with pytest.raises(ValueError, match=r"Received: -1"):
        model([[-1]])


def test_more_tokens_than_the_context_are_refused():
    with pytest.raises(ValueError, match=r"time=33, context_length=32"):
        GPT2LM(TINY)(random_ids((1, 33)))


def test_a_tokenizer_of_another_vocabulary_is_refused():
    tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
    with pytest.raises(ValueError, match=r"tokenizer.vocab_size=257, config.vocab_size=300"):
        GPT2LM(TINY, tokenizer)


def test_text_without_a_tokenizer_is_refused():
    with pytest.raises(ValueError, match=r"Received: a model with tokenizer=None"):
        GPT2LM(TINY).generate("a")
