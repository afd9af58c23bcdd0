"""What a `.litertlm` file needs and what is no such file, found out before the long work."""

import builtins
import sys

import pytest

from gpt2_keras.export import certify, litertlm
from tests.models import text_model

for name in ("litert_lm", "litert_lm_builder"):
    pytest.importorskip(name, reason="needs it: pip install 'gpt2-keras[litertlm]'")


def test_without_the_builder_the_error_says_what_to_install(tmp_path, monkeypatch):
    import_ = builtins.__import__

    def import_all_but_the_builder(name, *args, **kwargs):
        if name.startswith("litert_lm_builder"):
            raise ImportError(name)
        return import_(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_all_but_the_builder)
    message = r"litert-lm-builder is not installed, .* pip install 'gpt2-keras\[litertlm\]'"
    with pytest.raises(ImportError, match=message):
        litertlm.to_litertlm(text_model(), tmp_path / "m.litertlm")


def test_a_file_that_does_not_load_is_an_error(tmp_path):
    path = tmp_path / "bad.litertlm"
    path.write_bytes(b"no bundle, but long enough" * 9)
    with pytest.raises(ValueError, match=r"bad\.litertlm is no \.litertlm file that loads: "):
        certify(text_model(), path)


def test_without_the_runtime_nothing_is_exported_but_without_a_certificate(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_lm", None)
    message = r"litert-lm is not installed, .* or use certificate=False"
    with pytest.raises(ImportError, match=message):
        text_model().export(tmp_path / "model.litertlm", format="litertlm")
    assert list(tmp_path.iterdir()) == []
