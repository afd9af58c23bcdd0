"""The real GPT-2 files and texts, where they are at hand."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Holds gpt2/encoder.json, gpt2/vocab.bpe and text/*.txt; another folder may be named.
DATA = Path(os.environ.get("GPT2_KERAS_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def gpt2_files() -> Path:
    """The folder of OpenAI's `encoder.json` and `vocab.bpe`."""
    return _data_folder("gpt2")


@pytest.fixture(scope="session")
def text_files() -> Path:
    """The folder of `tinyshakespeare.txt` and `wikitext2-valid.txt`."""
    return _data_folder("text")


def _data_folder(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"no {DATA / name}: set GPT2_KERAS_TEST_DATA to a folder that holds {name}/")
    return DATA / name


@pytest.fixture
def short_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates of a sentence; those of the whole text are proven in test_certificate."""
    from gpt2_keras.verification import certify

    monkeypatch.setattr(certify, "default_text", lambda: "The standard library is large. " * 4)
