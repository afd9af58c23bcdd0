import re

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gpt2_keras import GPT2LM
from gpt2_keras.checkpoints.json_files import read_json, write_json
from gpt2_keras.finetuning import enable_lora, load_adapter, merge_lora, save_adapter
from tests.models import random_ids, random_model, text_model, weights_of
from tests.test_model import assert_close

LAYERS = ("qkv", "output_projection", "expand", "project")
EPSILON = np.finfo("float32").eps


def train(model, steps=3):
    ids = random_ids((4, 9), model.config)
    model.compile(keras.optimizers.Adam(0.05), run_eagerly=True, jit_compile=False)
    model.fit(ids[:, :-1], ids[:, 1:], epochs=steps, verbose=0)
    return model


def trained(layers=LAYERS, **kwargs):
    model = text_model()
    enable_lora(model, 2, layers, **kwargs)
    return train(model)


def logits(model):
    return np.array(model(random_ids((2, 8), model.config)))


def test_enabling_lora_changes_no_output():
    model = text_model()
    before = logits(model)
    enable_lora(model, 4, LAYERS)
    assert_close(logits(model), before)


@pytest.mark.parametrize("layers", [("qkv",), ("expand", "project")])
def test_training_changes_the_matrices_of_the_named_layers_alone(layers):
    model = trained(layers)
    assert len(model.trainable_variables) == 2 * len(layers) * model.config.num_layers
    assert all("lora" in variable.path for variable in model.trainable_variables)
    for layer in layers:
        assert any(f"/{layer}/" in variable.path for variable in model.trainable_variables)
    kept = [variable for variable in model.weights if "lora" not in variable.path]
    for variable, original in zip(kept, text_model().weights, strict=True):
        np.testing.assert_array_equal(variable.value, original.value)
    assert np.abs(logits(model) - logits(text_model())).max() > 1e-2


@pytest.mark.parametrize("alpha", [None, 16])
def test_merging_changes_no_output_and_leaves_an_ordinary_model(alpha):
    model = trained(alpha=alpha)
    before, weights = logits(model), weights_of(model)
    merge_lora(model)
    assert_close(logits(model), before)
    assert len(model.trainable_variables) == len(model.weights) == len(text_model().weights)
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(value, weights[name])
    train(model, steps=1)
    enable_lora(model)  # again


def test_alpha_scales_what_is_added():
    difference = {}
    for alpha in (2, 4):
        model = text_model()
        enable_lora(model, 2, ("qkv",), alpha=alpha)
        for variable in model.trainable_variables:
            variable.assign(np.full(variable.shape, 0.1))
        plain = weights_of(text_model())["transformer.h.0.attn.c_attn.weight"]
        difference[alpha] = weights_of(model)["transformer.h.0.attn.c_attn.weight"] - plain
    # The sum is rounded at the size of the kernel, then the kernel is subtracted from it; twice
    # that where a difference is doubled.
    rounding = 2 * EPSILON * np.abs(plain).max()
    np.testing.assert_allclose(difference[2], 2 * 0.1 * 0.1, rtol=0, atol=rounding)
    np.testing.assert_allclose(difference[4], 2 * difference[2], rtol=0, atol=3 * rounding)


def test_generation_is_compiled_again_after_lora_is_enabled_or_merged():
    model = text_model(num_layers=1)
    before = model.generate("the cat", max_new_tokens=12)
    enable_lora(model, 2, LAYERS)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    adapted = model.generate("the cat", max_new_tokens=12)
    assert adapted != before
    merge_lora(model)
    assert model.generate("the cat", max_new_tokens=12) == adapted


def test_a_model_directory_of_a_model_with_lora_holds_the_sum(tmp_path):
    model = trained()
    model.save_to_preset(tmp_path / "model")
    loaded = GPT2LM.from_preset(tmp_path / "model")
    assert_close(logits(loaded), logits(model))


def test_merging_keeps_float32_whatever_the_policy():
    model = random_model(dtype="mixed_bfloat16")
    enable_lora(model, 2)
    for variable in model.trainable_variables:
        variable.assign(np.full(variable.shape, 0.01))
    expected = weights_of(random_model())["transformer.h.0.attn.c_attn.weight"] + 2e-4
    merge_lora(model)
    found = weights_of(model)["transformer.h.0.attn.c_attn.weight"]
    # Two roundings of float32; those of bfloat16 would be 2**15 times as large.
    rounding = 2 * EPSILON * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding)


@pytest.mark.parametrize("layers", [("qkv",), LAYERS])
def test_an_adapter_alone_is_saved_and_loaded(tmp_path, layers):
    model = trained(layers, alpha=8)
    save_adapter(model, tmp_path / "adapter")
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert sum(array.size for array in stored.values()) == sum(
        np.prod(variable.shape) for variable in model.trainable_variables
    )
    fresh = text_model()
    load_adapter(fresh, tmp_path / "adapter")
    np.testing.assert_array_equal(logits(fresh), logits(model))


def test_an_adapter_for_another_model_changes_nothing(tmp_path):
    save_adapter(trained(), tmp_path / "adapter")
    other = text_model(num_layers=1)
    before, count = logits(other), len(other.weights)
    with pytest.raises(
        ValueError, match=r"unexpected base_model.model.transformer.h.1.attn.c_attn"
    ):
        load_adapter(other, tmp_path / "adapter")
    np.testing.assert_array_equal(logits(other), before)
    assert len(other.weights) == len(other.trainable_variables) == count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "json has peft_type='IA3', and Keras' LoRA needs 'LORA'. Merge"),
        ({"use_dora": True}, "json has use_dora=True, and Keras' LoRA needs False. Merge"),
        (
            {"target_modules": ["q_proj"]},
            r"json has r=2 and target_modules=\['q_proj'\], and .* some of attn.c_attn, attn",
        ),
        ({"r": None}, r"json has r=None and target_modules=\['attn.c_attn'\], and an adapter"),
    ],
)
def test_an_adapter_of_another_method_or_model_is_an_error(tmp_path, changes, message):
    save_adapter(trained(("qkv",)), tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    write_json(path, {**read_json(path), **changes})
    with pytest.raises(ValueError, match=message):
        load_adapter(text_model(), tmp_path / "adapter")


def test_a_missing_adapter_and_a_damaged_one_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no adapter_config.json and no adapter_model"):
        load_adapter(text_model(), tmp_path)
    save_adapter(trained(("qkv",)), tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        load_adapter(text_model(), tmp_path / "adapter")
    save_file({"a": np.zeros(2, "float32")}, path)
    with pytest.raises(ValueError, match=r"missing base_model.model.transformer.h.0.attn.c_attn"):
        load_adapter(text_model(), tmp_path / "adapter")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layers": ("norm",)}, ValueError, "layers[0]='norm' is unknown. Use one of 'qkv', 'outp"),
        ({"layers": ()}, ValueError, "layers is empty."),
        ({"layers": "qkv"}, TypeError, "layers='qkv' is a str. Use a list of layers."),
        ({"layers": [1]}, TypeError, "layers[0]=1 is an int. Use a str."),
        ({"rank": 0}, ValueError, "rank=0 is less than 1. Use an integer of at least 1."),
        ({"rank": True}, TypeError, "rank=True is a bool. Use an integer of at least 1."),
        ({"rank": 2.0}, TypeError, "rank=2.0 is a float. Use an integer of at least 1."),
        ({"alpha": 0}, ValueError, "alpha=0 is not above 0. Use a number above 0."),
        ({"alpha": float("nan")}, ValueError, "alpha=nan is not finite. Use a number above 0."),
        ({"alpha": "8"}, TypeError, "alpha='8' is a str. Use a number above 0."),
    ],
)
def test_an_argument_of_the_wrong_type_or_value_changes_nothing(arguments, error, message):
    model = random_model()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        enable_lora(model, **arguments)
    assert len(model.trainable_variables) == len(random_model().trainable_variables)


def test_lora_is_enabled_once_and_merged_only_if_enabled(tmp_path):
    model = random_model()
    with pytest.raises(ValueError, match=r"^The model has no LoRA to merge\. Call enable_lora and"):
        merge_lora(model)
    with pytest.raises(
        ValueError, match=r"^The model has no LoRA weights to save\. Call enable_lo"
    ):
        save_adapter(model, tmp_path / "adapter")
    enable_lora(model)
    with pytest.raises(ValueError, match=r"^The model has LoRA already\. Call merge_lora first"):
        enable_lora(model)
