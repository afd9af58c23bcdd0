"""What is no bundle, or none that a model can have, is refused before the long work."""

import builtins
import sys

import pytest

from gpt2_keras.export import certify, litertlm
from tests.models import random_model, text_model

for name in ("litert_lm", "litert_lm_builder"):
    pytest.importorskip(name, reason="needs it: pip install 'gpt2-keras[litertlm]'")


def test_a_type_that_weights_cannot_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Received: dtype='int3'"):
        litertlm.to_litertlm(text_model(), tmp_path / "m.litertlm", dtype="int3")


@pytest.mark.parametrize("length", [1, 33])
def test_a_context_length_that_the_model_does_not_have_is_refused(tmp_path, length):
    with pytest.raises(ValueError, match=rf"Received: context_length={length}, of 32\."):
        litertlm.to_litertlm(text_model(), tmp_path / "m.litertlm", context_length=length)


def test_a_model_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Received: a model with tokenizer=None"):
        litertlm.to_litertlm(random_model(), tmp_path / "m.litertlm")


def test_a_taken_place_is_left_as_it_is(tmp_path):
    place = tmp_path / "m.litertlm"
    place.write_text("mine")
    with pytest.raises(FileExistsError, match=r"Received: .*m.litertlm, which exists"):
        litertlm.to_litertlm(text_model(), place)
    assert place.read_text() == "mine"


def test_a_conversion_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(model, context_length):
        raise OSError(28, f"No space left for {context_length}")

    monkeypatch.setattr(litertlm, "_convert", fail)
    with pytest.raises(OSError, match="No space left for 16"):
        litertlm.to_litertlm(text_model(), tmp_path / "m.litertlm", context_length=16)
    assert list(tmp_path.iterdir()) == []


def test_without_the_builder_the_error_says_what_to_install(tmp_path, monkeypatch):
    imports = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("litert_lm_builder"):
            raise ImportError(name)
        return imports(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'gpt2-keras\[litertlm\]'"):
        litertlm.to_litertlm(text_model(), tmp_path / "m.litertlm")


def test_a_file_that_is_no_bundle_is_refused(tmp_path):
    place = tmp_path / "bad.litertlm"
    place.write_bytes(b"no bundle, but long enough" * 9)
    with pytest.raises(ValueError, match=r"A .litertlm file must load. Received: .*bad.litertlm: "):
        certify(text_model(), place)


@pytest.mark.parametrize(
    ("kind", "name", "needed"),
    [("litertlm", "model.tflite", r"\*\.litertlm"), ("litert", "model", r"\*\.tflite")],
)
def test_a_name_by_which_it_would_not_be_known_is_refused(tmp_path, kind, name, needed):
    message = rf"A {kind} file with a certificate must be named {needed}. Received: path=.*{name}"
    with pytest.raises(ValueError, match=message):
        text_model().export(tmp_path / name, format=kind)


def test_without_the_runtime_nothing_is_exported_but_without_a_certificate(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_lm", None)
    with pytest.raises(ImportError, match=r"needs litert-lm, .* or export without a certificate"):
        text_model().export(tmp_path / "model.litertlm", format="litertlm")
    assert list(tmp_path.iterdir()) == []
