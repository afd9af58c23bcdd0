"""Checkpoints whose tables have more rows than the tokenizer has tokens, and fewer."""

import dataclasses

import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.checkpoints import save_classifier, save_keras_hub, save_openai
from gpt2_keras.checkpoints.tensors import MAX_PADDING_ROWS
from gpt2_keras.finetuning import GPT2Classifier
from tests.checkpoints.test_huggingface_files import assert_same_weights
from tests.checkpoints.writers import write_nanogpt, write_torch
from tests.models import random_model, text_model, weights_of

PADDING = 40  # 280 tokens, padded to a multiple of 64
EMBEDDINGS = "transformer.wte.weight"


def padded(model, num_rows=PADDING):
    """The model with rows after its tokens, which would be sampled if they could."""
    config = dataclasses.replace(model.config, vocab_size=model.config.vocab_size + num_rows)
    larger = random_model(config)
    for old, new in zip(model.weights, larger.weights, strict=True):
        value = np.asarray(old)
        if old.shape != new.shape:
            value = np.concatenate([value, np.full((num_rows, value.shape[1]), 9.0, "float32")])
        new.assign(value)
    return larger


def write_bin(model, directory):
    model.save_to_preset(directory)
    (directory / "model.safetensors").unlink()
    write_torch(directory / "pytorch_model.bin", weights_of(model))


def write_nanogpt_directory(model, directory):
    directory.mkdir()
    write_nanogpt(directory / "ckpt.pt", model)


WRITERS = {
    "safetensors": lambda model, directory: model.save_to_preset(directory),
    "pytorch_model.bin": write_bin,
    "nanoGPT": write_nanogpt_directory,
    "OpenAI": save_openai,
    "KerasHub": save_keras_hub,
}


@pytest.mark.parametrize("system", WRITERS)
def test_rows_after_the_last_token_are_left_out(system, tmp_path):
    model = text_model()
    WRITERS[system](padded(model), tmp_path / "padded")
    loaded = GPT2LM.from_preset(tmp_path / "padded", tokenizer=model.tokenizer)
    assert loaded.config.vocab_size == model.config.vocab_size
    assert_same_weights(loaded, weights_of(model))
    loaded.save_to_preset(tmp_path / "saved")
    again = GPT2LM.from_preset(tmp_path / "saved")
    assert again.tokenizer == model.tokenizer
    assert_same_weights(again, weights_of(model))


@pytest.mark.parametrize("arguments", [{}, {"vocab_size": 280}])
def test_the_tokenizer_beside_the_weights_counts(arguments, tmp_path):
    model = text_model()
    padded(model).save_to_preset(tmp_path / "padded")
    model.tokenizer.save(tmp_path / "padded")
    loaded = GPT2LM.from_preset(tmp_path / "padded", **arguments)
    assert_same_weights(loaded, weights_of(model))
    assert loaded.tokenizer == model.tokenizer


def test_without_a_tokenizer_all_rows_are_tokens(tmp_path):
    larger = padded(text_model())
    larger.save_to_preset(tmp_path / "padded")
    assert_same_weights(GPT2LM.from_preset(tmp_path / "padded"), weights_of(larger))


def test_a_classifier_may_be_padded(tmp_path):
    model = text_model()
    classifier = GPT2Classifier(padded(model), ["no", "yes"])
    save_classifier(classifier, tmp_path / "classifier")
    model.tokenizer.save(tmp_path / "classifier")
    loaded = GPT2Classifier.from_preset(tmp_path / "classifier", model_class=GPT2LM)
    assert_same_weights(loaded.language_model, weights_of(model))


def test_more_rows_than_any_padding_are_an_error(tmp_path):
    model = text_model()
    padded(model, MAX_PADDING_ROWS + 1).save_to_preset(tmp_path / "padded")
    message = r"^tokenizer.vocab_size=280 is not config.vocab_size=1304\. Use the tokenizer"
    with pytest.raises(ValueError, match=message):
        GPT2LM.from_preset(tmp_path / "padded", tokenizer=model.tokenizer)


@pytest.mark.parametrize("system", WRITERS)
def test_special_tokens_without_a_row_are_ordinary_text(system, tmp_path):
    model = text_model()
    WRITERS[system](random_model(model.config), tmp_path / "model")
    larger = model.tokenizer.with_special_tokens(["[PAD]", "[SEP]"])
    with pytest.warns(UserWarning, match=r"no embeddings of the special tokens \['\[PAD\]', '\[SE"):
        loaded = GPT2LM.from_preset(tmp_path / "model", tokenizer=larger)
    assert loaded.tokenizer == model.tokenizer
