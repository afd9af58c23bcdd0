"""`GPT2LM.export`: Keras' contract, versions, and arguments checked before any work."""

import keras
import pytest
import tensorflow as tf

from gpt2_keras.export import certify, litert, litertlm, saved_model
from gpt2_keras.verification import open as open_module
from tests.models import random_model, text_model


@pytest.fixture(scope="module")
def model():
    return text_model(num_layers=1)


@pytest.fixture
def written(monkeypatch):
    """Makes a SavedModel an empty directory, which is quick."""
    monkeypatch.setattr(tf.saved_model, "save", lambda module, path, signatures: None)
    monkeypatch.setattr(saved_model, "write_warmup", lambda *args, **kwargs: None)
    monkeypatch.setattr(saved_model, "_signatures", lambda *args: {})


def test_the_arguments_of_keras_are_those_of_keras(model, written, tmp_path):
    path = model.export(filepath=tmp_path / "a", format="tf_saved_model", certificate=False)
    assert path == tmp_path / "a"
    assert path.is_dir()
    as_in_keras = (tmp_path / "b", "tf_saved_model", False, None)
    assert model.export(*as_in_keras, certificate=False) == tmp_path / "b"


def test_a_version_is_a_directory_below_the_path(model, written, tmp_path):
    assert model.export(tmp_path, version=3, certificate=False) == tmp_path / "3"
    (tmp_path / "assets").mkdir()
    message = r"version=3 is in .* already\. Nothing is overwritten\. Use version=4, which is free"
    with pytest.raises(FileExistsError, match=message):
        model.export(tmp_path, version=3, certificate=False)
    assert model.export(tmp_path, version=1, certificate=False) == tmp_path / "1"


def test_what_an_interrupted_export_left_does_no_harm(model, written, tmp_path):
    (tmp_path / ".1.0123.unfinished").mkdir()
    assert model.export(tmp_path, version=1, certificate=False) == tmp_path / "1"


def test_a_directory_with_other_files_is_left_as_it_is(model, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="1 entr"):
        model.export(tmp_path)
    with pytest.raises(NotADirectoryError, match=r"thesis\.tex"):
        model.export(tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("format", ["litert", "litertlm"])
def test_a_file_that_exists_is_left_as_it_is(model, tmp_path, format):
    path = tmp_path / f"model.{'tflite' if format == 'litert' else 'litertlm'}"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=rf"{path.name} exists, and nothing is overwritten\."):
        model.export(path, format=format, certificate=False)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("module", "suffix"), [(litert, ".tflite"), (litertlm, ".litertlm")], ids=["litert", "litertlm"]
)
def test_a_conversion_that_fails_leaves_nothing(model, tmp_path, monkeypatch, module, suffix):
    if module is litertlm:
        pytest.importorskip("litert_lm_builder", reason="needs it: gpt2-keras[litertlm]")

    def fail(model, context_length, *_):
        raise OSError(28, f"No space left for {context_length}")

    monkeypatch.setattr(module, "_convert", fail)
    with pytest.raises(OSError, match="No space left for 16"):
        model.export(
            tmp_path / f"m{suffix}",
            format=module.__name__.rpartition(".")[2],
            context_length=16,
            certificate=False,
        )
    assert list(tmp_path.iterdir()) == []


WRONG_VALUES = [
    ({"format": "onnx"}, r"format='onnx' is unknown\. Use one of 'tf_saved_model', 'litert', 'li"),
    ({"input_signature": [1]}, r"input_signature=\[1\] is given, but the signatures of a tf_saved"),
    ({"version": 0}, r"version=0 is less than 1\."),
    ({"version": 2, "format": "litert"}, r"version=2 is given for format='litert', which has no "),
    ({"max_new_tokens": 0}, r"max_new_tokens=0 is less than 1\. Use an integer from 1 to 31\."),
    ({"max_new_tokens": -3}, r"max_new_tokens=-3 is less than 1\."),
    ({"max_new_tokens": 32}, r"max_new_tokens=32 is greater than 31\."),
    ({"dtype": "int3"}, r"dtype='int3' is unknown\. Use one of 'float32', 'float16', 'bfloat16', "),
    ({"on_invalid_text": "x"}, r"on_invalid_text='x' is unknown\. Use one of 'error', 'accept'\."),
    (
        {"dtype": "int2", "format": "litert"},
        r"dtype='int2' is unknown\. Use one of 'float32', 'float16', 'int8', 'int4', 'mixed'\.",
    ),
    ({"dtype": "int2", "format": "litertlm"}, r"dtype='int2' is unknown\."),
    ({"context_length": 1, "format": "litert"}, r"context_length=1 is less than 2\. Use an integ"),
    (
        {"context_length": 33, "format": "litert"},
        r"context_length=33 is greater than 32\. .* model",
    ),
    ({"context_length": 33, "format": "litertlm"}, r"context_length=33 is greater than 32\."),
    (
        {"dtype": "int4", "format": "litert"},
        r"hidden_dim=16, feed_forward_dim=64 are not both multiples of 32, which dtype='int4' ",
    ),
]
WRONG_TYPES = [
    ({"filepath": 3}, r"filepath=3 is an int\. Use a path\."),
    ({"filepath": None}, r"filepath is None\. Use a path\."),
    ({"format": 3}, r"format=3 is an int\. Use one of 'tf_saved_model', "),
    ({"verbose": 1}, r"verbose=1 is an int\. Use True or False\."),
    ({"version": True}, r"version=True is a bool\. Use an integer of at least 1\."),
    ({"version": 1.5}, r"version=1\.5 is a float\."),
    ({"certificate": "no"}, r"certificate='no' is a str\. Use True or False\."),
    ({"warmup": 0}, r"warmup=0 is an int\. Use True or False\."),
    ({"max_new_tokens": True}, r"max_new_tokens=True is a bool\."),
    ({"max_new_tokens": float("nan")}, r"max_new_tokens=nan is a float\."),
    ({"dtype": 8}, r"dtype=8 is an int\. Use one of 'float32', "),
    ({"on_invalid_text": True}, r"on_invalid_text=True is a bool\."),
    ({"context_length": "16", "format": "litert"}, r"context_length='16' is a str\."),
    ({"context_length": True, "format": "litertlm"}, r"context_length=True is a bool\."),
    ({"colour": 3}, r"colour=3 is no option of format='tf_saved_model'\. Use one of max_new_tok"),
    ({"warmup": True, "format": "litert"}, r"warmup=True is no option of format='litert'\. Use o"),
]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        *((arguments, ValueError, message) for arguments, message in WRONG_VALUES),
        *((arguments, TypeError, message) for arguments, message in WRONG_TYPES),
    ],
)
def test_a_wrong_argument_is_an_error_before_any_work(model, tmp_path, arguments, error, message):
    if arguments.get("format") == "litertlm":
        pytest.importorskip("litert_lm_builder", reason="needs it: gpt2-keras[litertlm]")
    with pytest.raises(error, match=message):
        model.export(**{"filepath": tmp_path / "out", "certificate": False, **arguments})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("format", "name", "suffix"),
    [("litertlm", "model.tflite", r"\.litertlm"), ("litert", "model", r"\.tflite")],
)
def test_a_file_name_by_which_no_certificate_is_found_is_an_error(
    model, tmp_path, format, name, suffix
):
    message = (
        rf"filepath='.*{name}' does not end in {suffix}, by which the certificate of a {format}"
    )
    with pytest.raises(ValueError, match=message):
        model.export(tmp_path / name, format=format)


@pytest.mark.parametrize("format", ["tf_saved_model", "litertlm"])
def test_a_model_without_a_tokenizer_has_no_text_to_export(tmp_path, format):
    if format == "litertlm":
        pytest.importorskip("litert_lm_builder", reason="needs it: gpt2-keras[litertlm]")
    with pytest.raises(ValueError, match="tokenizer"):
        random_model().export(tmp_path / "out", format=format, certificate=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_quantizer_is_an_error_that_says_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setattr(litert.checked_options.__globals__["importlib"].util, "find_spec", nothing)
    message = r"litert-quantizer is not installed, which dtype='int8' needs\. Run: pip install"
    with pytest.raises(ImportError, match=message):
        model.export(tmp_path / "m", format="litert", dtype="int8", certificate=False)


def nothing(name):
    """Stands for `importlib.util.find_spec` where nothing is installed."""


def test_every_format_of_a_file_has_its_suffix():
    assert open_module._SUFFIXES == {"litert": ".tflite", "litertlm": ".litertlm"}


def test_an_export_on_another_backend_is_an_error_before_anything_is_written(
    model, tmp_path, monkeypatch
):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    rule = r"needs TensorFlow, and Keras runs on the backend 'jax'\. Save the model \(`save_to_"
    for form in ("tf_saved_model", "litert", "litertlm"):
        with pytest.raises(RuntimeError, match=rf"^An export {rule}"):
            model.export(tmp_path / "out", format=form)
    with pytest.raises(RuntimeError, match=rf"^A certificate {rule}"):
        certify(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())
