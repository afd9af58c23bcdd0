"""Parity with KerasHub: its logits, presets and tokenizer."""

import keras
import keras_hub
import numpy as np
import pytest

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.checkpoints import from_keras_hub, save_keras_hub, to_keras_hub
from tests.checkpoints.test_huggingface_files import assert_same_weights
from tests.models import TINY, random_ids, random_model, text_model, weights_of
from tests.test_model import assert_close

WIDE = GPT2Config(
    vocab_size=50,
    context_length=12,
    num_layers=3,
    num_heads=4,
    hidden_dim=24,
    intermediate_dim=40,
    dropout_rate=0.2,
)


def their_logits(causal_lm, ids):
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    return np.array(causal_lm(inputs, training=False))


@pytest.mark.parametrize("config", [TINY, WIDE])
def test_logits_are_equal_in_both_directions(config):
    model = random_model(config)
    theirs = to_keras_hub(model)
    ids = random_ids((2, 12), config)
    assert_close(their_logits(theirs, ids), np.array(model(ids)))
    again = from_keras_hub(theirs, model_class=GPT2LM)
    assert again.config == config
    assert_same_weights(again, weights_of(model))


def test_a_bare_backbone_is_converted_too():
    backbone = to_keras_hub(random_model()).backbone
    model = from_keras_hub(backbone, dropout_rate=0.5, model_class=GPT2LM)
    assert model.config.dropout_rate == 0.5
    assert_same_weights(model, weights_of(random_model()))


def test_a_preset_on_disk_is_read_and_written(tmp_path):
    model = text_model()
    save_keras_hub(model, tmp_path / "ours")
    loaded = GPT2LM.from_preset(tmp_path / "ours")
    assert loaded.config == model.config
    assert loaded.tokenizer == model.tokenizer
    assert_same_weights(loaded, weights_of(model))
    theirs = keras_hub.models.GPT2CausalLM.from_preset(str(tmp_path / "ours"))
    assert np.array(theirs.preprocessor.tokenizer("the cat")).tolist() == model.tokenizer.encode(
        "the cat"
    )


def test_special_tokens_survive_the_round_trip():
    tokenizer = text_model().tokenizer.with_special_tokens(["<|user|>"])
    config = GPT2Config(**{**TINY.to_dict(), "vocab_size": tokenizer.vocab_size})
    assert (
        from_keras_hub(to_keras_hub(random_model(config, tokenizer)), model_class=GPT2LM).tokenizer
        == tokenizer
    )


def test_a_preset_without_a_tokenizer_loads(tmp_path):
    save_keras_hub(random_model(), tmp_path / "model")
    assert GPT2LM.from_preset(tmp_path / "model").tokenizer is None


def test_another_model_is_an_error(tmp_path):
    message = (
        r"^model is of class Dense\. Use a GPT2CausalLM or GPT2Backbone of keras_hub.models\.$"
    )
    with pytest.raises(TypeError, match=message):
        from_keras_hub(keras.layers.Dense(3), model_class=GPT2LM)
    for name in ("config.json", "model.weights.h5"):
        (tmp_path / name).write_text('{"class_name": "BertBackbone"}')
    message = (
        r"config.json is of class 'BertBackbone', and the preset of a GPT-2 of 'GPT2Backbone'\."
    )
    with pytest.raises(ValueError, match=message):
        GPT2LM.from_preset(tmp_path)


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_a_truncated_preset_is_an_error(tmp_path, fraction):
    save_keras_hub(random_model(), tmp_path / "model")
    path = tmp_path / "model" / "model.weights.h5"
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    message = (
        r"/model.weights.h5 \(\d+ bytes\) is not a complete HDF5 file: .* download it again\.$"
    )
    with pytest.raises(ValueError, match=f"(?s){message}"):
        GPT2LM.from_preset(tmp_path / "model")


def test_a_directory_that_is_not_empty_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="nothing is overwritten"):
        save_keras_hub(random_model(), tmp_path)
