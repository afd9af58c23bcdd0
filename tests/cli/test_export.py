import json

import numpy as np
import pytest

import gpt2_keras.export
from gpt2_keras import GPT2LM
from gpt2_keras.cli import export
from gpt2_keras.cli.main import main
from gpt2_keras.export import Certificate
from gpt2_keras.export.litert_quantization import LITERT_DTYPES
from gpt2_keras.export.weights import WEIGHT_DTYPES
from tests.models import text_model


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model"
    text_model(context_length=48, num_layers=1).save_to_preset(path)
    return str(path)


@pytest.mark.slow  # the README's commands certify one too
def test_a_tflite_file_is_certified(model_directory, tmp_path, capsys):
    pytest.importorskip("ai_edge_litert", reason="runs the .tflite file")
    path = tmp_path / "m.tflite"
    words = ["export", "--model", model_directory, "--out", str(path), "--format", "litert"]
    assert main(words) == 0
    summary = Certificate.read(path).summary
    assert capsys.readouterr().out == f"wrote {path}\ncertified: {summary}\n"
    assert main([*words, "--no-certificate"]) == 1
    assert "m.tflite exists, and nothing is overwritten." in capsys.readouterr().err


@pytest.fixture
def asked(monkeypatch):
    """What the command asks of the library, which does nothing."""
    calls = []

    def record(model, path, output_format, verbose, input_signature, **options):
        assert (verbose, input_signature) == (None, None)
        calls.append({"path": path, "format": output_format, **options})
        return f"{path}/1"

    monkeypatch.setattr(gpt2_keras.export, "export", record)
    return calls


def test_each_flag_of_a_saved_model_reaches_the_library(model_directory, asked, capsys):
    words = ["export", "--model", model_directory, "--out", "serving", "--format", "tf_saved_model"]
    flags = [
        "--max-new-tokens",
        "4",
        "--dtype",
        "int8",
        "--on-invalid-text",
        "accept",
        "--version",
        "3",
    ]
    assert main([*words, *flags, "--no-certificate", "--json"]) == 0
    assert asked == [
        {
            "path": "serving",
            "format": "tf_saved_model",
            "certificate": False,
            "max_new_tokens": 4,
            "dtype": "int8",
            "on_invalid_text": "accept",
            "version": 3,
        }
    ]
    assert json.loads(capsys.readouterr().out) == {
        "format": "tf_saved_model",
        "path": "serving/1",
        "certified": False,
    }


def test_the_flag_of_a_tflite_file_reaches_the_library(model_directory, asked, capsys):
    words = ["export", "--model", model_directory, "--out", "m.tflite", "--format", "litert"]
    assert main([*words, "--context-length", "16", "--json"]) == 0
    assert asked[0]["context_length"] == 16
    with pytest.raises(SystemExit):
        main([*words, "--context-length", "16", "--format", "tf_saved_model"])
    assert (
        "--context-length: not an option of tf_saved_model, only of litert and litertlm"
        in capsys.readouterr().err
    )


def test_the_flags_of_a_bundle_reach_the_library(model_directory, asked, capsys):
    words = ["export", "--model", model_directory, "--out", "m.litertlm", "--format", "litertlm"]
    assert main([*words, "--context-length", "16", "--dtype", "int8", "--json"]) == 0
    assert asked == [
        {
            "path": "m.litertlm",
            "format": "litertlm",
            "certificate": True,
            "dtype": "int8",
            "context_length": 16,
        }
    ]
    assert json.loads(capsys.readouterr().out)["certified"] is True


def test_what_is_not_asked_for_is_left_to_the_library(model_directory, asked, capsys):
    words = ["export", "--model", model_directory, "--out", "serving", "--format", "tf_saved_model"]
    assert main([*words, "--json"]) == 0
    assert asked == [
        {"path": "serving", "format": "tf_saved_model", "certificate": True, "version": 1}
    ]
    assert json.loads(capsys.readouterr().out)["certified"] is True


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("huggingface", "model.safetensors"),
        ("openai", "hparams.json"),
        ("keras_hub", "config.json"),
    ],
)
def test_the_checkpoints_of_other_systems_are_read_back(model_directory, tmp_path, name, made):
    out = tmp_path / "out"
    words = ["export", "--model", model_directory, "--out", str(out), "--format", name]
    assert main(words) == 0
    assert (out / made).is_file()
    ids = np.array([[1, 2, 3]])
    ours = GPT2LM.from_preset(model_directory)
    np.testing.assert_array_equal(GPT2LM.from_preset(out)(ids), ours(ids))
    assert main(words) == 1  # it exists
    with pytest.raises(SystemExit):
        main([*words, "--dtype", "int8"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--max-new-tokens", "3"],
            "argument --max-new-tokens: not an option of litert, only of tf_",
        ),
        (["--on-invalid-text", "accept"], "argument --on-invalid-text: not an option of litert, "),
        (["--version", "2"], "argument --version: not an option of litert, only of tf_saved_model"),
        (["--version", "0"], "argument --version: expected an integer of at least 1, got 0"),
        (["--dtype", "int3"], "argument --dtype: invalid choice: 'int3'"),
        (["--on-invalid-text", "x"], "argument --on-invalid-text: invalid choice: 'x'"),
    ],
)
def test_a_flag_that_does_not_fit_is_a_wrong_usage(flags, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["export", "--model", "m", "--out", "o", "--format", "litert", *flags])
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"gpt2-keras export: error: {message}")


def test_the_choices_are_those_of_the_library():
    assert set(export.DTYPES) == {*WEIGHT_DTYPES, *LITERT_DTYPES}
    assert export.FORMATS == gpt2_keras.export.FORMATS
