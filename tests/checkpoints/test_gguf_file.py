import sys

import pytest

from gpt2_keras.checkpoints import save_gguf
from tests.models import random_model, text_model


def test_another_dtype_and_a_missing_tokenizer_are_errors(tmp_path):
    message = r"^dtype='int4' is unknown\. Use one of 'float32', 'float16'\. Quantize the file with"
    with pytest.raises(ValueError, match=message):
        save_gguf(text_model(), tmp_path / "model.gguf", dtype="int4")
    with pytest.raises(TypeError, match=r"^dtype is None\. Use one of 'float32', 'float16'\."):
        save_gguf(text_model(), tmp_path / "model.gguf", dtype=None)
    with pytest.raises(TypeError, match=r"^path=3 is an int\. Use a path\."):
        save_gguf(text_model(), 3)
    with pytest.raises(ValueError, match="has no tokenizer"):
        save_gguf(random_model(), tmp_path / "model.gguf")


def test_a_file_that_exists_is_not_overwritten(tmp_path):
    (tmp_path / "model.gguf").write_text("mine")
    message = r"model.gguf exists, and nothing is overwritten\. Name another path"
    with pytest.raises(FileExistsError, match=message):
        save_gguf(text_model(), tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").read_text() == "mine"


def test_the_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    message = r'^The library gguf, .*, is not installed\. .*"gpt2-keras\[gguf\]"'
    with pytest.raises(ImportError, match=message):
        save_gguf(text_model(), tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []
