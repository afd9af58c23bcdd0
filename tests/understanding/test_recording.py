import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from gpt2_keras import GPT2LM
from gpt2_keras.layers.kernels import using_kernels
from gpt2_keras.layers.kernels.litert import LITERT
from gpt2_keras.understanding import activation_names, edit, record
from tests.bfloat16 import needs_bfloat16
from tests.models import TINY, random_ids, random_model, text_model, weights_of
from tests.test_model import assert_close
from tests.understanding import oracle

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="is about TensorFlow"
)
LAYER_1 = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def model():
    return random_model()


def test_every_activation_equals_the_oracle(model):
    ids = random_ids((2, 9))
    expected = oracle.activations(weights_of(model), ids, TINY.num_heads)
    names = activation_names(TINY.num_layers)
    assert {*names, "logits"} == set(expected)
    found = record(model, ids, names)
    assert list(found) == names
    for name in names:
        visible = expected[name] > -1e9  # the others are masked
        assert found[name].shape == expected[name].shape, name
        assert_close(found[name][visible], expected[name][visible])
        np.testing.assert_array_equal(found[name][~visible], np.float32(-1e10))


@pytest.mark.parametrize("name", ["hook_resid_pre", "attn.hook_pattern", "attn.hook_z"])
def test_one_row_of_ids_is_a_batch_of_one(model, name):
    ids = random_ids((1, 5))
    wild = f"blocks.*.{name}"
    for given in (ids[0], ids[0].tolist(), tf.constant(ids)):
        found = record(model, given, wild)
        assert list(found) == [f"blocks.0.{name}", f"blocks.1.{name}"]
        for key, value in record(model, ids, wild).items():
            np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("mixed_bfloat16", marks=needs_bfloat16)])
def test_rows_of_attention_sum_to_1_in_every_policy(dtype):
    # A row of up to 9 float32 weights, each off by half a unit in the last place at most.
    model = random_model(dtype=dtype)
    pattern = record(model, random_ids((2, 9)), "blocks.0.attn.hook_pattern")
    (weights,) = pattern.values()
    assert weights.dtype == "float32"
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=9 * 2**-24)


def test_editing_nothing_changes_nothing_bit_for_bit(model):
    ids = random_ids((2, 9))
    before = np.array(model(ids))
    seen = []

    def look(value, name):
        seen.append(name)
        return value if len(seen) % 2 else None

    with edit(model, {}):
        np.testing.assert_array_equal(model(ids), before)
    with edit(model, {"*": look}):
        after = np.array(model(ids))
    if keras.backend.backend() == "jax":  # which attends in one operation when not observed
        assert_close(after, before)
    else:
        np.testing.assert_array_equal(after, before)
    assert sorted(seen) == sorted(activation_names(TINY.num_layers))
    np.testing.assert_array_equal(model(ids), before)


@pytest.mark.parametrize("name", activation_names(TINY.num_layers))
def test_what_a_function_returns_takes_the_place_of_the_activation(model, name):
    ids = random_ids((2, 9))
    before = np.array(model(ids))
    value = record(model, ids, name)[name]
    factors = np.linspace(0.5, 1.5, value.shape[-1])  # not one factor: a norm would undo it
    with edit(model, {name: lambda value, _: ops.convert_to_numpy(value) * factors}):
        changed = np.array(model(ids))
        again = record(model, ids, name)[name]
    # An observer sees what those before it have made.
    np.testing.assert_allclose(again, factors * value, rtol=1e-6)
    assert np.abs(changed - before).max() > 1e-2


def test_a_norm_with_another_scale_is_computed_with_it(model):
    ids = random_ids((2, 9))
    norm = model.decoder.final_norm
    before = record(model, ids, ["ln_final.hook_scale", LAYER_1])
    with edit(model, {"ln_final.hook_scale": lambda value, _: value * 2}):
        found = record(model, ids, "ln_final.hook_normalized")["ln_final.hook_normalized"]
    x = before[LAYER_1].astype("float64")
    x = (x - x.mean(-1, keepdims=True)) / (2 * before["ln_final.hook_scale"])
    assert_close(found, x * np.asarray(norm.gamma.value) + np.asarray(norm.beta.value))


def test_an_edit_of_a_residual_is_what_the_next_layers_read(model):
    ids = random_ids((2, 9))
    zero = {"blocks.0.hook_resid_post": lambda value, _: ops.zeros_like(value)}
    with edit(model, zero):
        found = record(model, ids, "blocks.1.hook_resid_pre")["blocks.1.hook_resid_pre"]
        states = model.hidden_states(ids)
    assert not found.any()
    assert not np.any(states[1])


def test_kerashubs_intercept_function_sees_the_embeddings_and_every_block(model):
    ids = random_ids((2, 9))
    seen = {}

    def layer_intercept_fn(x, i):
        seen[i] = np.array(x)
        return x * 2 if i == 0 else x

    with edit(model, layer_intercept_fn):
        changed = np.array(model(ids))
    expected = record(model, ids, ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_post"])
    assert sorted(seen) == [-1, 0, 1]
    np.testing.assert_array_equal(seen[-1], expected["blocks.0.hook_resid_pre"])
    np.testing.assert_array_equal(seen[0], expected["blocks.0.hook_resid_post"])
    with edit(model, {"blocks.1.hook_resid_pre": lambda value, _: value * 2}):
        np.testing.assert_array_equal(model(ids), changed)


def test_only_the_model_that_was_named_is_edited(model):
    other, ids = random_model(seed=1), random_ids((1, 4))
    before = np.array(other(ids))
    own = np.array(model(ids))
    with edit(model, {"hook_embed": lambda value, _: 0 * value}):
        np.testing.assert_array_equal(other(ids), before)
        assert np.abs(model(ids) - own).max() > 1e-2


def test_generate_and_score_and_predict_are_edited_and_then_as_before():
    model = text_model()
    ids = random_ids((2, 6), model.config)
    asked = ("the cat", {"max_new_tokens": 8})
    text, score = model.generate(asked[0], **asked[1]), model.score(asked[0]).log_probs
    logits = model.predict(ids, verbose=0)
    function = model.predict_function
    with edit(model, {"blocks.*.hook_mlp_out": lambda value, _: 0 * value}):
        edited = model.generate(asked[0], **asked[1])
        assert edited != text
        assert model.score(asked[0]).log_probs != score
        np.testing.assert_allclose(model.predict(ids, verbose=0), model(ids), rtol=0, atol=1e-4)
        assert np.abs(model.predict(ids, verbose=0) - logits).max() > 1e-2
        # Token by token with a cache, and in one pass over all tokens: the same.
        generation = model.generate_details(asked[0], **asked[1])
        row = [*model.tokenizer.encode(asked[0]), *generation.token_ids]
        whole = np.array(ops.log_softmax(model([row])[0, :-1]))
        expected = whole[np.arange(len(row) - 1), row[1:]][-len(generation.token_ids) :]
        assert generation.log_probs == pytest.approx(expected, abs=1e-4)
    assert model.generate(asked[0], **asked[1]) == text
    assert model.score(asked[0]).log_probs == score
    assert model.predict_function is function
    np.testing.assert_array_equal(model.predict(ids, verbose=0), logits)


def test_every_activation_can_be_edited_while_text_is_generated():
    model = text_model()
    text = model.generate("the cat", max_new_tokens=8)
    seen = set()

    def same(value, name):
        seen.add(name)
        return value * 1.0  # another tensor of the same numbers

    with edit(model, {"*": same}):
        assert model.generate(["the cat", "it's"], max_new_tokens=8)[0] == text
    assert seen == set(activation_names(model.config.num_layers))


@pytest.mark.slow
@needs_tensorflow
def test_what_xla_compiles_is_edited_and_then_as_before():
    model = text_model()
    asked = {"max_new_tokens": 8, "jit_compile": True}
    text = model.generate("the cat", **asked)
    with edit(model, {"blocks.*.hook_mlp_out": lambda value, _: 0 * value}):
        edited = model.generate("the cat", **asked)
        assert edited == model.generate("the cat", max_new_tokens=8) != text
    assert model.generate("the cat", **asked) == text


def test_training_is_edited_and_gradients_go_through_the_edit():
    for remat in (False, True):
        model = random_model()
        model.compile(optimizer=keras.optimizers.SGD(0.1), remat=remat)
        feed_forward = model.decoder.blocks[1].feed_forward
        weights = [np.asarray(each.value).copy() for each in feed_forward.weights]
        table = np.asarray(model.token_embedding.embeddings.value).copy()
        ids = random_ids((2, 9))
        with edit(model, {"blocks.1.hook_mlp_out": lambda value, _: 0 * value}):
            model.fit(ids[:, :-1], ids[:, 1:], verbose=0)
        for before, after in zip(weights, feed_forward.weights, strict=True):
            np.testing.assert_array_equal(after.value, before)
        assert np.abs(model.token_embedding.embeddings.value - table).max() > 0


@needs_tensorflow
def test_without_an_observer_graphs_are_as_before(model):
    def operations():
        specs = [tf.TensorSpec([None, None], tf.int32)]
        graph = tf.function(lambda ids: model(ids, training=False)).get_concrete_function(*specs)
        return [each.type for each in graph.graph.get_operations()]

    before = operations()
    with edit(model, {}), edit(random_model(seed=1), {"*": lambda value, _: value + 1}):
        assert operations() == before
    with edit(model, {"blocks.0.hook_mlp_out": lambda value, _: value + 1}):
        assert len(operations()) > len(before)
    assert operations() == before


def test_patterns_are_given_where_attention_has_other_kernels(model):
    ids = random_ids((2, 9))
    name = "blocks.1.attn.hook_pattern"
    with using_kernels(LITERT):
        found = record(model, ids, name)[name]
    np.testing.assert_allclose(found, record(model, ids, name)[name], atol=1e-6)


def test_newer_names_stand_for_the_same(model):
    ids = random_ids((1, 4))
    for newer, older in (
        ("embed.hook_out", "hook_embed"),
        ("blocks.1.hook_in", "blocks.1.hook_resid_pre"),
        ("blocks.1.attn.hook_out", "blocks.1.hook_attn_out"),
        ("unembed.hook_in", "ln_final.hook_normalized"),
    ):
        found = record(model, ids, newer)[newer]
        np.testing.assert_array_equal(found, record(model, ids, older)[older])


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("blocks.3.attn.hook_patern", ValueError, r"no activation 'blocks.3.attn.hook_patern' in a"
         r" model of 2 layers.*nearest are blocks.\d.attn.hook_pattern"),
        (["hook_embed", "blocks.2.hook_resid_pre"], ValueError, "'blocks.2.hook_resid_pre'"),
        ("nothing*", ValueError, r"no activation 'nothing\*'"),
        (["hook_embed", 3], TypeError, r"names\[1\]=3 is an int"),
        ([], ValueError, "names is empty"),
    ],
)  # fmt: skip
def test_wrong_names_are_told_with_the_nearest(model, names, error, message):
    with pytest.raises(error, match=message):
        record(model, [[1, 2]], names)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([], ValueError, r"shape \(1, 0\) have no token"),
        ([[1, 300]], ValueError, "Token id 300 is not in the vocabulary"),
        ([-1], ValueError, "Token id -1"),
        (list(range(33)), ValueError, "33 tokens are more than context_length=32"),
        ("text", TypeError, "'text' is of the type str"),
        ([[1, 2], [3]], ValueError, "rows of several lengths"),
    ],
)
def test_wrong_ids_are_told(model, ids, error, message):
    with pytest.raises(error, match=message):
        record(model, ids, "hook_embed")


def test_wrong_functions_are_told(model):
    for functions, error, message in (
        ({"hook_embed": 3}, TypeError, r"functions\['hook_embed'\] is 3, which cannot be called"),
        ({"hook_embd": print}, ValueError, "no activation 'hook_embd'"),
    ):
        with pytest.raises(error, match=message), edit(model, functions):
            pass
    half = {"hook_embed": lambda value, _: value[:, :1]}
    message = r"function of hook_embed returned shape \(1, 1, 16\) for \(1, 4, 16\)"
    with pytest.raises(ValueError, match=message), edit(model, half):
        model(random_ids((1, 4)))
    assert np.isfinite(model(random_ids((1, 4)))).all()  # the edit is over


@needs_tensorflow  # JAX has no products of halves on a CPU
@needs_bfloat16  # nor is there one of halves, where the processor has AVX512_FP16
def test_activations_have_the_dtype_that_they_are_computed_in():
    model = GPT2LM(TINY, dtype="float16")
    found = record(model, [[1, 2]], ["hook_embed", "ln_final.hook_scale"])
    assert found["hook_embed"].dtype == "float16"
    assert found["ln_final.hook_scale"].dtype == "float32"
