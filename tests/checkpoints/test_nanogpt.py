import numpy as np
import pytest

from gpt2_keras import GPT2LM, GPT2Config, GPT2Tokenizer
from gpt2_keras.checkpoints.nanogpt import PADDED_VOCAB_SIZE
from tests.checkpoints.test_huggingface_files import assert_same_weights
from tests.checkpoints.writers import write_nanogpt, write_torch
from tests.models import TINY, random_model, text_model, weights_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ckpt.pt"


def test_a_checkpoint_loads_by_its_file_or_its_directory(path):
    model = random_model()
    write_nanogpt(path, model)
    for preset in (path, path.parent):
        loaded = GPT2LM.from_preset(preset)
        assert loaded.config == TINY
        assert loaded.tokenizer is None
        assert_same_weights(loaded, weights_of(model))


def test_padding_rows_after_the_tokens_of_the_tokenizer_are_left_out(path, tmp_path):
    model = text_model()
    write_nanogpt(path, model, padding=24)
    model.tokenizer.save(tmp_path / "tokenizer")
    for tokenizer in (model.tokenizer, tmp_path / "tokenizer"):
        loaded = GPT2LM.from_preset(path, tokenizer=tokenizer)
        assert loaded.config.vocab_size == 280
        assert_same_weights(loaded, weights_of(model))
    model.tokenizer.save(tmp_path)  # beside the checkpoint
    assert GPT2LM.from_preset(path).tokenizer == model.tokenizer


def test_without_a_tokenizer_only_the_padding_of_50257_rows_is_left_out(path):
    sizes = {"num_layers": 1, "num_heads": 1, "hidden_dim": 4, "context_length": 4}
    model = random_model(GPT2Config(**sizes))
    write_nanogpt(path, model, padding=PADDED_VOCAB_SIZE - model.config.vocab_size)
    assert GPT2LM.from_preset(path).config.vocab_size == 50257
    small = random_model()
    write_nanogpt(path, small, padding=3)
    assert GPT2LM.from_preset(path).config.vocab_size == TINY.vocab_size + 3


def test_biases_that_are_not_stored_are_zero(path):
    model = random_model()
    write_nanogpt(path, model, bias=False)
    found = weights_of(GPT2LM.from_preset(path))
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(found[name], 0 if name.endswith(".bias") else value)


def test_the_mask_of_old_versions_is_ignored(path):
    mask = np.ones((1, 1, 32, 32), "float32")
    write_nanogpt(path, random_model(), extra={"_orig_mod.transformer.h.0.attn.bias": mask})
    assert_same_weights(GPT2LM.from_preset(path), weights_of(random_model()))


def test_contents_that_do_not_fit_are_an_error(path):
    write_nanogpt(path, random_model(), n_layer=3)
    message = rf"^12 of the tensors in {path} do not fit `model_args`: missing transformer.h.2.ln_1"
    with pytest.raises(ValueError, match=message):
        GPT2LM.from_preset(path)
    write_nanogpt(path, random_model())
    larger = GPT2Tokenizer.train([str(list(range(1000)))], vocab_size=320)
    with pytest.raises(ValueError, match=r"^tokenizer.vocab_size=320 is not config.vocab_size=300"):
        GPT2LM.from_preset(path, tokenizer=larger)
    write_torch(path, {"weights": 1})
    message = r"ckpt.pt holds weights, and a checkpoint of nanoGPT's train.py holds the dict"
    with pytest.raises(ValueError, match=message):
        GPT2LM.from_preset(path)
    write_torch(path, {"model": {}, "model_args": {"n_layer": 1}})
    with pytest.raises(ValueError, match=r"^`model_args` of .* lacks vocab_size, block_size, n_he"):
        GPT2LM.from_preset(path)
