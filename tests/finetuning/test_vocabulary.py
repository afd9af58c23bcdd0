import re

import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.finetuning import add_special_tokens, enable_lora
from tests.models import random_ids, random_model, text_model, weights_of
from tests.test_model import assert_close

NEW = ["<|user|>", "<|bot|>"]


def test_new_tokens_get_the_next_ids_and_the_mean_embedding():
    model = text_model()
    larger = add_special_tokens(model, NEW)
    assert larger.tokenizer.special_tokens == {
        "<|endoftext|>": 279,
        "<|user|>": 280,
        "<|bot|>": 281,
    }
    assert larger.tokenizer.encode("<|user|>", allowed_special="all") == [280]
    old, new = weights_of(model), weights_of(larger)
    table = new.pop("transformer.wte.weight")
    before = old.pop("transformer.wte.weight")
    np.testing.assert_array_equal(table[:280], before)
    # A sum of 280 numbers is off by at most 280 roundings of the sum of their sizes.
    rounding = 280 * np.finfo("float32").eps * np.abs(before).mean(axis=0).max()
    mean = before.astype("float64").mean(axis=0)
    np.testing.assert_allclose(table[280:], np.tile(mean, (2, 1)), rtol=0, atol=rounding)
    for name, value in old.items():
        np.testing.assert_array_equal(new[name], value)


def test_the_old_logits_do_not_change_and_the_new_are_their_mean():
    model = text_model()
    ids = random_ids((2, 8), model.config)
    before, after = np.array(model(ids)), np.array(add_special_tokens(model, NEW)(ids))
    assert_close(after[..., :280], before)
    mean = before.mean(axis=-1, keepdims=True)
    assert_close(after[..., 280:], np.repeat(mean, 2, -1), scale=np.abs(before).max())


def test_the_larger_model_is_saved_and_trained(tmp_path):
    larger = add_special_tokens(text_model(), NEW)
    larger.save_to_preset(tmp_path / "model")
    loaded = GPT2LM.from_preset(tmp_path / "model")
    assert loaded.tokenizer == larger.tokenizer
    ids = np.array([loaded.tokenizer.encode("<|user|>hi<|bot|>", allowed_special="all")])
    loaded.compile()
    assert np.isfinite(loaded.fit(ids[:, :-1], ids[:, 1:], verbose=0).history["loss"][0])


@pytest.mark.parametrize("tokens", [["<|endoftext|>"], ["the"], [""], ["<a>", "<a>"]])
def test_a_token_that_exists_or_is_given_twice_is_an_error(tokens):
    with pytest.raises(ValueError, match=re.escape(repr(tokens[-1]))):
        add_special_tokens(text_model(), tokens)


@pytest.mark.parametrize("tokens", ["<a>", [b"<a>"], [1]])
def test_tokens_that_are_no_list_of_strings_are_a_type_error(tokens):
    with pytest.raises(TypeError, match="tokens"):
        add_special_tokens(text_model(), tokens)


def test_a_tokenizer_is_needed_and_lora_comes_later():
    with pytest.raises(ValueError, match="has no tokenizer"):
        add_special_tokens(random_model(), NEW)
    model = text_model()
    enable_lora(model)
    with pytest.raises(ValueError, match=r"^The model has LoRA, and tokens are added before it is"):
        add_special_tokens(model, NEW)
