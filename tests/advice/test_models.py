"""What the errors of configs and models advise, done."""

import numpy as np
import pytest

from gpt2_keras import GPT2LM, GPT2Config, GPT2Tokenizer
from gpt2_keras.finetuning import GPT2Classifier, add_special_tokens, enable_lora, merge_lora
from tests.advice.following import follow, told
from tests.models import CORPUS, TINY, random_ids, random_model, text_model
from tests.test_model import assert_close


@pytest.fixture(scope="module")
def tokenizer():
    return GPT2Tokenizer.train(CORPUS, vocab_size=280)


def of_size(vocab_size):
    return GPT2Config(**{**TINY.to_dict(), "vocab_size": vocab_size})


@pytest.mark.parametrize("hidden_dim", [20, 64, 15])
def test_heads_that_do_not_divide_the_width(hidden_dim):
    config = follow(GPT2Config, "Use, for example, num_heads=", hidden_dim=hidden_dim, num_heads=6)
    assert config.hidden_dim == hidden_dim


def test_sinusoidal_positions_of_odd_width():
    config = follow(
        GPT2Config,
        "Use, for example, hidden_dim=",
        hidden_dim=15,
        num_heads=5,
        position_embedding="sinusoidal",
    )
    assert config.hidden_dim == 20


def test_a_field_that_is_none():
    fields = {**TINY.to_dict(), "n_head": 2}
    told(lambda: GPT2Config.from_dict(fields), "Remove it; the fields are")
    del fields["n_head"]
    assert GPT2Config.from_dict(fields) == TINY


def test_json_that_is_no_config():
    told(lambda: GPT2Config.from_json("[1]"), "Use the text that `to_json` returns.")
    assert GPT2Config.from_json(TINY.to_json()) == TINY


def test_more_tokens_than_the_context():
    model = random_model()
    ids = random_ids((1, 70))
    told(lambda: model(ids), "Truncate them to the last ones, or split them into windows.")
    assert model(ids[:, -32:]).shape == (1, 32, 300)
    windows = np.pad(ids, ((0, 0), (0, 26))).reshape(-1, 32)
    assert model(windows).shape == (3, 32, 300)


def test_a_row_without_a_batch():
    model = random_model()
    ids = random_ids((9,))
    told(lambda: model(ids), "Use (batch, time), for one row token_ids[None].")
    assert model(ids[None]).shape == (1, 9, 300)


def test_rows_of_several_lengths():
    model = random_model()
    rows = [[1, 2, 3], [4]]
    told(lambda: model(rows), "Pad them to one length, and give padding_mask.")
    mask = np.array([[True, True, True], [True, False, False]])
    padded = model(np.array([[1, 2, 3], [4, 0, 0]]), padding_mask=mask)
    np.testing.assert_allclose(padded[1, 0], model(np.array([[4]]))[0, 0], rtol=1e-4, atol=1e-5)


def test_ids_outside_the_vocabulary():
    model = text_model()
    told(
        lambda: model.check_token_ids([[280]]),
        "Encode the text with the tokenizer of this model.",
    )
    model.check_token_ids([model.tokenizer.encode("the cat")])


def test_text_without_a_tokenizer(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    model = random_model(of_size(280))
    advice = "Set `model.tokenizer = GPT2Tokenizer.from_directory(...)`."
    told(lambda: model.generate("the"), advice)
    model.tokenizer = GPT2Tokenizer.from_directory(tmp_path)
    assert model.generate("the", max_new_tokens=2).startswith("the")


@pytest.mark.parametrize("padding", [1, 24, 2000])
def test_a_checkpoint_of_a_padded_vocabulary(padding, tokenizer, tmp_path):
    whole = random_model(of_size(280 + padding))
    whole.save_to_preset(tmp_path)

    def give_tokenizer(**changes):
        model = GPT2LM.from_preset(tmp_path, **changes)
        model.tokenizer = tokenizer
        return model

    message = told(give_tokenizer, "for a new model a config with vocab_size=280; ")
    assert message.endswith("`from_preset(…, vocab_size=280)` leaves out the later embeddings.")
    model = give_tokenizer(vocab_size=280)
    ids = random_ids((1, 5), model.config)
    tables = (each.token_embedding.embeddings.numpy() for each in (model, whole))
    np.testing.assert_array_equal(next(tables), next(tables)[:280])
    # Tables of other sizes are multiplied in other blocks, and so rounded otherwise.
    assert_close(model(ids), whole(ids)[..., :280])
    assert GPT2LM(of_size(280), tokenizer=tokenizer).tokenizer is tokenizer


def test_a_tokenizer_with_more_tokens_than_the_model(tokenizer):
    model = random_model(of_size(279))
    advice = told(lambda: setattr(model, "tokenizer", tokenizer), "Use the tokenizer that ")
    assert advice.endswith("or for a new model a config with vocab_size=280.")
    GPT2LM(of_size(280)).tokenizer = tokenizer
    model.tokenizer = GPT2Tokenizer.train(CORPUS, vocab_size=279)


def test_special_tokens_that_a_model_has_no_embeddings_of(tokenizer, tmp_path):
    random_model(of_size(280), tokenizer).save_to_preset(tmp_path)
    tokenizer.with_special_tokens(["[PAD]"]).save(tmp_path, overwrite=True)
    with pytest.warns(UserWarning, match=r"`gpt2_keras\.finetuning\.add_special_tokens`"):
        model = GPT2LM.from_preset(tmp_path)
    model = add_special_tokens(model, ["[PAD]"])
    assert model.tokenizer.encode("the[PAD]")[-1] == 280
    assert model(np.array([[280]])).shape == (1, 1, 281)


def test_lora_in_the_wrong_order():
    model = text_model()
    told(lambda: merge_lora(model), "Call enable_lora and train it first.")
    enable_lora(model, 2)
    told(lambda: enable_lora(model, 2), "Call merge_lora first, or load the model again.")
    told(lambda: add_special_tokens(model, ["[A]"]), "Call merge_lora first.")
    merge_lora(model)
    model = add_special_tokens(model, ["[A]"])
    enable_lora(model, 2)


def test_labels_that_are_too_few():
    model = text_model()
    told(lambda: GPT2Classifier(model, ["yes"]), 'Use, for example, ["no", "yes"].')
    assert GPT2Classifier(model, ["no", "yes"]).labels == ["no", "yes"]
