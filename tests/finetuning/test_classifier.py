import json
import re

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.checkpoints import save_openai
from gpt2_keras.finetuning import GPT2Classifier, enable_lora, freeze
from tests.models import random_model, text_model
from tests.test_model import assert_close

LABELS = ["cats", "dogs"]
TEXTS = ["the cat sat", "the dog sat on the log", "a cat, and the mat", "dog, dog!"]
NUMBERS = np.array([0, 1, 0, 1])


def make(seed=0):
    classifier = GPT2Classifier(text_model(seed), LABELS)
    classifier.head.kernel.assign(np.random.default_rng(seed).normal(size=(16, 2)))
    return classifier


def test_the_logits_are_a_projection_of_the_last_hidden_state():
    classifier = make()
    ids = np.array([[3, 1, 4, 1, 5]])
    state = np.array(classifier.language_model.hidden_states(ids)[-1])[:, -1]
    expected = state @ keras.ops.convert_to_numpy(classifier.head.kernel)
    assert_close(classifier(ids), expected)


def test_padding_on_either_side_changes_nothing():
    classifier = make()
    alone = np.array(classifier(np.array([[3, 1, 4]])))
    rows = np.array([[3, 1, 4, 0, 0], [0, 0, 3, 1, 4]])
    mask = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]], "bool")
    logits = np.array(classifier({"token_ids": rows, "padding_mask": mask}))
    assert_close(logits, np.repeat(alone, 2, axis=0))


def test_texts_are_padded_and_truncated_to_their_last_tokens():
    classifier = make()
    tokenizer = classifier.language_model.tokenizer
    long = "cat " * 30 + "dog " * 30
    encoded = classifier.encode(["the cat", "", long])
    assert encoded["token_ids"].shape == (3, classifier.language_model.config.context_length)
    for text, ids, mask in zip(
        ["the cat", "<|endoftext|>"], encoded["token_ids"], encoded["padding_mask"], strict=False
    ):
        assert ids[mask].tolist() == tokenizer.encode(text, allowed_special="all")
    assert encoded["token_ids"][2].tolist() == tokenizer.encode(long)[-32:]
    assert encoded["padding_mask"][2].all()


@pytest.mark.parametrize("part", ["all", "lora", "head"])
def test_fit_learns_the_labels(part):
    classifier = GPT2Classifier(text_model(num_layers=1), LABELS)
    if part == "lora":
        enable_lora(classifier.language_model, 4)
    elif part == "head":
        freeze(classifier.language_model)
    classifier.compile(optimizer=keras.optimizers.Adam(0.03))
    x = classifier.encode(TEXTS)
    history = classifier.fit(x, NUMBERS, epochs=25, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] / 4
    assert history["accuracy"][-1] == 1
    assert classifier.classify(TEXTS) == ["cats", "dogs", "cats", "dogs"]


def test_the_defaults_of_compile_are_for_fine_tuning():
    classifier = make()
    classifier.compile(run_eagerly=True, jit_compile=False)
    assert float(classifier.optimizer.learning_rate) == pytest.approx(3e-5)
    history = classifier.fit(classifier.encode(TEXTS), NUMBERS, verbose=0).history
    assert set(history) == {"loss", "accuracy"}


def test_a_directory_is_saved_and_loaded(tmp_path):
    classifier = make()
    classifier.save_to_preset(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["GPT2ForSequenceClassification"]
    assert config["id2label"] == {"0": "cats", "1": "dogs"}
    assert config["pad_token_id"] == 279
    loaded = GPT2Classifier.from_preset(tmp_path / "model")
    assert loaded.labels == LABELS
    inputs = classifier.encode(TEXTS)
    np.testing.assert_array_equal(loaded(inputs), classifier(inputs))
    with pytest.raises(ValueError, match=r"do not fit config.json: unexpected score.weight\."):
        GPT2LM.from_preset(tmp_path / "model")


def test_a_keras_file_is_saved_and_loaded(tmp_path):
    classifier = make()
    classifier.compile()
    classifier.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.classify(TEXTS) == classifier.classify(TEXTS)
    inputs = classifier.encode(TEXTS)
    np.testing.assert_array_equal(loaded(inputs), classifier(inputs))


def test_loading_what_is_no_classifier_is_an_error(tmp_path):
    text_model().save_to_preset(tmp_path / "model")
    message = (
        r"config.json has \"architectures\": \['GPT2LMHeadModel'\] and \"id2label\": None, and a "
        r"classifier has \[\"GPT2ForSequenceClassification\"\] and an object with a name"
    )
    with pytest.raises(ValueError, match=message):
        GPT2Classifier.from_preset(tmp_path / "model")
    save_openai(text_model(), tmp_path / "openai")
    with pytest.raises(ValueError, match=r"^.*/openai is OpenAI's .*, and a classifier has the"):
        GPT2Classifier.from_preset(tmp_path / "openai")


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (
            ["one"],
            ValueError,
            "labels=['one'] are not two names or more, each given once. Use, for",
        ),
        (["a", "a"], ValueError, "labels=['a', 'a'] are not two names or more, each given once."),
        ([], ValueError, "labels is empty."),
        ("ab", TypeError, "labels='ab' is a str. Use a list of names."),
        ([0, 1], TypeError, "labels[0]=0 is an int. Use a str."),
        (None, TypeError, "labels is None. Use a list of names."),
    ],
)
def test_labels_are_two_different_names_or_more(labels, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        GPT2Classifier(random_model(), labels)


def test_texts_are_strings_and_need_a_tokenizer():
    with pytest.raises(ValueError, match="has no tokenizer"):
        GPT2Classifier(random_model(), LABELS).encode(["a"])
    with pytest.raises(TypeError, match=r"^texts\[1\]=b'a' is a bytes\. Use a str\. Decode bytes"):
        make().encode(["a", b"a"])
    with pytest.raises(ValueError, match=r"^texts is empty\. Use at least one str\.$"):
        make().classify([])


def test_a_clone_has_the_tokenizer():
    classifier = GPT2Classifier(text_model(), ["no", "yes"])
    clone = keras.models.clone_model(classifier)
    assert clone.language_model.tokenizer == classifier.language_model.tokenizer
    assert clone.classify(["the cat"])[0] in classifier.labels
