import re
import shutil

import pytest

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.checkpoints import load, save_openai
from gpt2_keras.checkpoints.formats import detect
from gpt2_keras.model import GPT2Model
from tests.checkpoints.test_huggingface_files import assert_same_weights
from tests.checkpoints.writers import write_nanogpt
from tests.models import random_model, text_model, weights_of


def test_each_format_is_detected_by_its_files(tmp_path):
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
        found, directory = detect(tmp_path / folder)
        assert word in found.name
        assert directory == tmp_path / folder


def test_a_run_directory_loads_as_the_model_directory_in_it(tmp_path):
    random_model().save_to_preset(tmp_path / "run" / "model")
    assert detect(tmp_path / "run")[1] == tmp_path / "run" / "model"


def test_two_formats_in_one_directory_are_an_error(tmp_path):
    random_model().save_to_preset(tmp_path / "both")
    save_openai(random_model(), tmp_path / "openai")
    for path in (tmp_path / "openai").iterdir():
        shutil.copy(path, tmp_path / "both")
    message = (
        r"^.*/both has the files of two checkpoints: a model directory of Hugging Face's layout "
        r"\(config.json .*\), OpenAI's or gpt-2-simple's checkpoint \(hparams.json and .*\)\. "
        r"Move those of one of them to another directory\.$"
    )
    with pytest.raises(ValueError, match=message):
        GPT2LM.from_preset(tmp_path / "both")


def test_the_error_for_no_checkpoint_lists_the_files_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    message = (
        rf"^There is no checkpoint at {tmp_path}, which holds empty, notes.txt\. Looked for, "
        r"there and in model/: a model directory of .*hparams.json.*\. Name another directory"
    )
    with pytest.raises(FileNotFoundError, match=message):
        GPT2LM.from_preset(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"notes.txt, which is a file\."):
        GPT2LM.from_preset(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match=r"empty, which holds nothing\."):
        GPT2LM.from_preset(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"at gpt7, which does not exist\."):
        GPT2LM.from_preset("gpt7")
    for index in range(11):
        (tmp_path / "empty" / f"{index:02}.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"which holds 00.txt, .*, 09.txt, …\."):
        GPT2LM.from_preset(tmp_path / "empty")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": 3}, "preset=3 is an int. Use a path."),
        ({"preset": None}, "preset is None. Use a path."),
        ({"tokenizer": 3}, "tokenizer=3 is an int. Use a path."),
    ],
)
def test_an_argument_of_the_wrong_type_is_a_type_error(tmp_path, arguments, message):
    random_model().save_to_preset(tmp_path / "model")
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        GPT2LM.from_preset(**{"preset": tmp_path / "model", **arguments})


def test_the_class_of_the_model_is_a_model_class(tmp_path):
    random_model().save_to_preset(tmp_path / "model")
    assert type(load(tmp_path / "model", model_class=GPT2Model)) is GPT2Model
    with pytest.raises(TypeError, match=r"^model_class=.*GPT2Config.* is no class of models\. Use"):
        load(tmp_path / "model", model_class=GPT2Config)
    with pytest.raises(TypeError, match=r"^model_class=3 is no class of models\. Use GPT2LM or a"):
        load(tmp_path / "model", model_class=3)


def test_another_tokenizer_may_be_named(tmp_path):
    model = text_model()
    model.save_to_preset(tmp_path / "model")
    other = model.tokenizer.train(["other words"], vocab_size=280)
    other = other.with_special_tokens([f"<{i}>" for i in range(280 - other.vocab_size)])
    loaded = GPT2LM.from_preset(tmp_path / "model", tokenizer=other)
    assert loaded.tokenizer == other
    assert_same_weights(loaded, weights_of(model))
