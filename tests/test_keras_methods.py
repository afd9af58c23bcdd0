"""Every public name of `keras.Model`: it works on a GPT2LM, or refuses with a sentence."""

import copy
import pickle

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2LM
from tests.models import random_ids, random_model, text_model

X = random_ids((2, 8))
Y = np.roll(X, -1, axis=1)


def logits(model):
    return keras.ops.convert_to_numpy(model(X))


def compiled():
    model = random_model()
    model.compile(jit_compile=False)
    return model


def same(model, other):
    ids = X % model.config.vocab_size
    found = (keras.ops.convert_to_numpy(each(ids)) for each in (model, other))
    np.testing.assert_array_equal(*found)


def check_weights():
    model, other = random_model(), random_model(seed=1)
    other.set_weights(model.get_weights())
    same(model, other)


def check_state_tree():
    model, other = compiled(), compiled()
    model.train_on_batch(X, Y)
    other.set_state_tree(model.get_state_tree())
    same(model, other)


def check_weights_file(tmp_path):
    model, other = random_model(), random_model(seed=1)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    same(model, other)


def check_save(tmp_path):
    model = text_model()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    same(model, loaded)
    assert loaded.tokenizer == model.tokenizer


def check_config():
    model = random_model()
    assert type(model).from_config(model.get_config()).config == model.config
    assert keras.models.model_from_json(model.to_json()).config == model.config


def check_structure():
    model = random_model()
    assert {layer.name for layer in model.layers} >= {"token_embedding", "decoder"}
    assert model.get_layer("decoder") is model.decoder
    assert model.count_params() == sum(int(np.prod(weight.shape)) for weight in model.weights)
    shown = []
    model.summary(print_fn=shown.append)
    assert "decoder" in "\n".join(shown)


def check_trainable():
    model = compiled()
    model.trainable = False
    assert not model.trainable_variables
    assert len(model.non_trainable_variables) == len(model.weights)
    model.trainable = True
    assert len(model.trainable_variables) == len(model.weights)


def check_steps():
    model = compiled()
    before = model.evaluate(X, Y, verbose=0, return_dict=True)["loss"]
    assert model.test_on_batch(X, Y, return_dict=True)["loss"] == pytest.approx(before, rel=1e-6)
    assert model.train_on_batch(X, Y, return_dict=True)["loss"] == pytest.approx(before, rel=1e-6)
    model.fit(X, Y, epochs=3, verbose=0)
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["loss"] < before
    model.reset_metrics()
    assert set(model.metrics_names) == {"loss"}


def check_predict():
    model = random_model()
    # The same operations in a graph, which may be fused: rounding of float32 over the network.
    expected, close = logits(model), {"rtol": 0, "atol": 1e-4}
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, **close)
    np.testing.assert_allclose(model.predict_on_batch(X), expected, **close)


def check_added_loss():
    model = random_model()
    model.token_embedding.embeddings.regularizer = keras.regularizers.L2(1.0)
    model.compile(jit_compile=False)
    table = keras.ops.convert_to_numpy(model.token_embedding.embeddings)
    added = model.evaluate(X, Y, verbose=0, return_dict=True)["loss"]
    plain = compiled().evaluate(X, Y, verbose=0, return_dict=True)["loss"]
    assert added == pytest.approx(plain + (table**2).sum(), rel=1e-4)


def check_stateless_call():
    model = random_model()
    found, _ = model.stateless_call(
        [each.value for each in model.trainable_variables],
        [each.value for each in model.non_trainable_variables],
        X,
    )
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), logits(model))


def check_symbolic():
    model = random_model()
    tokens = keras.KerasTensor((2, 8), "int32")
    assert model.symbolic_call(tokens).shape == (2, 8, 300)
    assert model.compute_output_spec(tokens).shape == (2, 8, 300)


def check_functional():
    inputs = keras.Input((8,), dtype="int32")
    model = random_model()
    outer = keras.Model(inputs, model(inputs))
    np.testing.assert_allclose(outer.predict(X, verbose=0), logits(model), rtol=0, atol=1e-4)


def check_dtypes():
    for dtype, compute in (("float32", "float32"), ("mixed_float16", "float16")):
        model = random_model(dtype=dtype)
        assert model.compute_dtype == compute
        assert model.variable_dtype == "float32"
        assert model.dtype_policy.name == dtype


def check_copies():
    model = text_model()
    copies = (copy.deepcopy(model), pickle.loads(pickle.dumps(model)))  # noqa: S301 -- our own
    for other in copies:
        assert other.tokenizer == model.tokenizer
        same(model, other)


def check_refused():
    with pytest.raises(ValueError, match=r"^quantize\(mode='int8'\) was called\."):
        random_model().quantize("int8")


# What is checked, and the names that it covers.
CHECKS = {
    check_weights: "get_weights set_weights weights variables",
    check_state_tree: "get_state_tree set_state_tree",
    check_weights_file: "save_weights load_weights load_own_variables save_own_variables",
    check_save: "save get_compile_config compile_from_config get_build_config build_from_config",
    check_config: "get_config from_config to_json",
    check_structure: "layers get_layer count_params summary path build",
    check_trainable: "trainable trainable_variables trainable_weights non_trainable_variables "
    "non_trainable_weights",
    check_steps: "fit evaluate train_on_batch test_on_batch compile train_step test_step loss "
    "make_train_function make_test_function compute_metrics get_metrics_result reset_metrics "
    "metrics metrics_names metrics_variables jit_compile run_eagerly compute_loss",
    check_predict: "predict predict_on_batch predict_step make_predict_function call",
    check_added_loss: "losses add_loss stateless_compute_loss",
    check_stateless_call: "stateless_call",
    check_symbolic: "symbolic_call compute_output_spec",
    check_functional: "input output input_spec compute_mask supports_masking",
    check_dtypes: "dtype dtype_policy compute_dtype variable_dtype input_dtype",
    check_copies: "",
    check_refused: "quantize quantization_mode quantized_build quantized_call "
    "get_quantization_layer_structure",
}
# Covered by tests of their own: export in tests/export, distribution in tests/test_distribution.py,
# rematerialization in tests/training.
ELSEWHERE = {
    "export",
    "distribute_strategy",
    "distribute_reduction_method",
    "rematerialized_call",
}
# Keras' own for what makes a layer, or shims of Keras 2, in which GPT2LM changes nothing.
UNCHANGED = {
    "add_metric",
    "add_variable",
    "add_weight",
    "compiled_loss",
    "compiled_metrics",
    "compute_output_shape",
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_works_or_is_refused(check, tmp_path):
    check(*([tmp_path] if check.__code__.co_argcount else []))


def test_the_table_has_every_public_name():
    public = {name for name in dir(keras.Model) if not name.startswith("_")}
    listed = {name for names in CHECKS.values() for name in names.split()}
    assert public <= listed | ELSEWHERE | UNCHANGED
    for name in UNCHANGED:
        assert getattr(GPT2LM, name) is getattr(keras.Model, name)
