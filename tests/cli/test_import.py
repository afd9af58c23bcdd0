"""The command `gpt2-keras import`."""

import json

import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.checkpoints import save_openai
from gpt2_keras.cli.main import main
from tests.checkpoints.test_huggingface_files import assert_same_weights
from tests.checkpoints.writers import write_nanogpt
from tests.models import random_model, text_model, weights_of


@pytest.fixture
def source(tmp_path):
    save_openai(text_model(), tmp_path / "117M")
    return tmp_path / "117M"


def test_a_checkpoint_becomes_a_model_directory(source, tmp_path, capsys):
    out = tmp_path / "model"
    assert main(["import", str(source), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{text_model().config.num_parameters:,} parameters are in {out}\n")
    assert f"Next: gpt2-keras generate --model {out}" in printed
    assert (out / "model.safetensors").is_file()
    assert_same_weights(GPT2LM.from_preset(out), weights_of(text_model()))
    assert main(["generate", "--model", str(out), "the cat", "--max-new-tokens", "2"]) == 0


def test_json_prints_the_result(source, tmp_path, capsys):
    words = ["import", str(source), "--out", str(tmp_path / "model"), "--dropout", "0.3", "--json"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"] == str(tmp_path / "model")
    assert result["has_tokenizer"] is True
    assert result["config"]["dropout_rate"] == 0.3


def test_another_tokenizer_can_be_given(tmp_path, capsys):
    write_nanogpt(tmp_path / "ckpt.pt", text_model(), padding=8)
    text_model().tokenizer.save(tmp_path / "tokenizer")
    words = ["import", str(tmp_path / "ckpt.pt"), "--out"]
    assert main([*words, str(tmp_path / "bare")]) == 0
    assert "It has no tokenizer: name one with --tokenizer" in capsys.readouterr().out
    words += [str(tmp_path / "model"), "--tokenizer", str(tmp_path / "tokenizer")]
    assert main(words) == 0
    assert GPT2LM.from_preset(tmp_path / "model").tokenizer == text_model().tokenizer


def test_a_failed_import_leaves_no_directory(source, tmp_path, capsys):
    path = source / "hparams.json"
    path.write_text(path.read_text().replace('"n_layer": 2', '"n_layer": 3'))
    assert main(["import", str(source), "--out", str(tmp_path / "deep" / "model")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("gpt2-keras import: error: 12 of the tensors in ")
    assert "missing model/h2/ln_1/g" in error
    assert sorted(item.name for item in tmp_path.iterdir()) == ["117M"]


def test_a_missing_checkpoint_and_an_output_that_exists_are_errors(source, tmp_path, capsys):
    assert main(["import", str(tmp_path), "--out", str(tmp_path / "model")]) == 1
    assert f"error: There is no checkpoint at {tmp_path}, which holds" in capsys.readouterr().err
    out = tmp_path / "old"
    random_model().save_to_preset(out)
    before = sorted(path.name for path in out.iterdir())
    assert main(["import", str(source), "--out", str(out)]) == 1
    assert str(out) in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == before
