"""What the errors of loading and saving advise, done."""

import json

import numpy as np
import pytest

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.checkpoints import save_openai
from gpt2_keras.finetuning import GPT2Classifier, enable_lora, load_adapter, save_adapter
from tests.advice.following import told, values_in
from tests.models import TINY, random_ids, random_model, text_model


def logits(model):
    return np.array(model(random_ids((1, 5), model.config)))


def rewritten(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))


def test_a_width_that_openai_cannot_have(tmp_path):
    config = GPT2Config(**{**TINY.to_dict(), "intermediate_dim": 24})
    model = random_model(config)
    told(lambda: save_openai(model, tmp_path / "a"), "Save it with `save_to_preset`.")
    model.save_to_preset(tmp_path / "b")
    np.testing.assert_array_equal(logits(GPT2LM.from_preset(tmp_path / "b")), logits(model))


def test_several_dropout_rates(tmp_path):
    random_model().save_to_preset(tmp_path)
    rewritten(tmp_path, attn_pdrop=0.25)
    advice = "Choose it, for example with dropout_rate="
    values = values_in(told(lambda: GPT2LM.from_preset(tmp_path), advice))
    assert values == {"dropout_rate": 0.25}
    assert GPT2LM.from_preset(tmp_path, **values).config.dropout_rate == 0.25


def test_a_model_that_has_no_lora(tmp_path):
    model = text_model()
    advice = "Call enable_lora and train it first."
    told(lambda: save_adapter(model, tmp_path / "adapter"), advice)
    enable_lora(model, 2)
    save_adapter(model, tmp_path / "adapter")
    again = text_model()
    load_adapter(again, tmp_path / "adapter")
    np.testing.assert_array_equal(logits(again), logits(model))


@pytest.mark.parametrize(
    ("key", "value"), [("use_dora", True), ("bias", "all"), ("use_rslora", True)]
)
def test_an_adapter_that_must_be_merged(key, value, tmp_path):
    model = text_model()
    enable_lora(model, 2)
    save_adapter(model, tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    told(
        lambda: load_adapter(text_model(), tmp_path),
        "Merge the adapter into its base model with PEFT, and load that.",
    )
    model.save_to_preset(tmp_path / "merged")  # as PEFT's merge_and_unload and save_pretrained
    assert GPT2LM.from_preset(tmp_path / "merged")


def test_a_language_model_in_place_of_a_classifier(tmp_path):
    text_model().save_to_preset(tmp_path)
    advice = "Load it with GPT2LM.from_preset, and make a new GPT2Classifier of it."
    told(lambda: GPT2Classifier.from_preset(tmp_path), advice)
    model = GPT2LM.from_preset(tmp_path)
    assert GPT2Classifier(model, ["no", "yes"])(random_ids((1, 4), model.config)).shape == (1, 2)


def test_a_directory_with_two_checkpoints(tmp_path):
    random_model().save_to_preset(tmp_path / "model")
    (tmp_path / "model" / "ckpt.pt").write_bytes(b"")
    advice = "Move those of one of them to another directory."
    told(lambda: GPT2LM.from_preset(tmp_path / "model"), advice)
    (tmp_path / "other").mkdir()
    (tmp_path / "model" / "ckpt.pt").rename(tmp_path / "other" / "ckpt.pt")
    assert GPT2LM.from_preset(tmp_path / "model")


def test_a_directory_that_is_in_use(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    model = random_model()
    told(lambda: model.save_to_preset(tmp_path / "file"), "Name a new or empty directory.")
    told(lambda: model.save_to_preset(tmp_path), "Name a new or empty directory")
    model.save_to_preset(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    model.save_to_preset(tmp_path / "empty")
    assert GPT2LM.from_preset(tmp_path / "empty")


def test_a_config_of_other_weights(tmp_path):
    random_model().save_to_preset(tmp_path)
    own = (tmp_path / "config.json").read_text(encoding="utf-8")
    rewritten(tmp_path, n_layer=3, n_embd=32)
    advice = "Use the config.json that came with the weights."
    told(lambda: GPT2LM.from_preset(tmp_path), advice)
    (tmp_path / "config.json").write_text(own, encoding="utf-8")
    assert GPT2LM.from_preset(tmp_path).config == TINY


def test_a_path_without_a_checkpoint(tmp_path):
    advice = "Name another directory, `hf://owner/name`, `kaggle://…`, or a published size such as"
    told(lambda: GPT2LM.from_preset(tmp_path), advice)
    told(lambda: GPT2LM.from_preset("hf://gpt2"), "Use, for example, hf://openai-community/gpt2.")
    random_model().save_to_preset(tmp_path / "model")
    assert GPT2LM.from_preset(tmp_path / "model")


def test_a_shard_that_is_missing(tmp_path):
    random_model().save_to_preset(tmp_path)
    index = {"weight_map": {"transformer.wte.weight": "part.safetensors"}}
    whole = (tmp_path / "model.safetensors").rename(tmp_path / "whole")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    advice = "Copy or download the missing files too."
    told(lambda: GPT2LM.from_preset(tmp_path), advice)
    whole.rename(tmp_path / "part.safetensors")
    assert GPT2LM.from_preset(tmp_path)
