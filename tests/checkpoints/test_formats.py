import shutil

import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.checkpoints import save_openai
from gpt2_keras.checkpoints.formats import detect
from tests.checkpoints.test_huggingface_files import assert_same_weights
from tests.checkpoints.writers import write_nanogpt
from tests.models import random_model, text_model, weights_of


def test_each_kind_is_told_by_its_files(tmp_path):
    model = random_model()
    model.save_to_preset(tmp_path / "ours")
    save_openai(model, tmp_path / "openai")
    (tmp_path / "nano").mkdir()
    write_nanogpt(tmp_path / "nano" / "ckpt.pt", model)
    (tmp_path / "hub").mkdir()
    for name in ("config.json", "model.weights.h5"):
        (tmp_path / "hub" / name).touch()
    words = {"ours": "Hugging Face", "openai": "OpenAI", "nano": "nanoGPT", "hub": "KerasHub"}
    for folder, word in words.items():
        kind, directory = detect(tmp_path / folder)
        assert word in kind.name
        assert directory == tmp_path / folder


def test_a_run_directory_stands_for_the_checkpoint_in_it(tmp_path):
    random_model().save_to_preset(tmp_path / "run" / "model")
    assert detect(tmp_path / "run")[1] == tmp_path / "run" / "model"


def test_two_kinds_in_one_directory_are_refused(tmp_path):
    random_model().save_to_preset(tmp_path / "both")
    save_openai(random_model(), tmp_path / "openai")
    for path in (tmp_path / "openai").iterdir():
        shutil.copy(path, tmp_path / "both")
    message = (
        r"must hold one checkpoint. Received: .*/both, which has the files of a model directory of "
        r"Hugging Face's layout \(config.json .*\) and OpenAI's or gpt-2-simple's checkpoint "
        r"\(hparams.json and"
    )
    with pytest.raises(ValueError, match=message):
        GPT2LM.from_preset(tmp_path / "both")


def test_no_checkpoint_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        FileNotFoundError, match=r"hparams.json.*that holds notes.txt. Name another"
    ):
        GPT2LM.from_preset(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"notes.txt, a file"):
        GPT2LM.from_preset(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="gpt7, that does not exist"):
        GPT2LM.from_preset("gpt7")


def test_another_tokenizer_may_be_named(tmp_path):
    model = text_model()
    model.save_to_preset(tmp_path / "model")
    other = model.tokenizer.train(["other words"], vocab_size=280)
    other = other.with_special_tokens([f"<{i}>" for i in range(280 - other.vocab_size)])
    loaded = GPT2LM.from_preset(tmp_path / "model", tokenizer=other)
    assert loaded.tokenizer == other
    assert_same_weights(loaded, weights_of(model))
