"""One small model and its artifacts, for every test of this folder."""

import json
import shutil
import sys

import numpy as np
import pytest

from gpt2_keras.verification.artifact import Artifact, GreedyText
from gpt2_keras.verification.certificate import CertificateError, certificate_path, seal
from gpt2_keras.verification.verify import verify
from tests.export.device_files import bare_file, small_file, small_model


@pytest.fixture(scope="session")
def model():
    return small_model()


@pytest.fixture(scope="session")
def saved_model(model, tmp_path_factory):
    return model.export(tmp_path_factory.mktemp("serving") / "model", warmup=False)


@pytest.fixture(scope="session")
def litert():
    """The `.tflite` file of the model."""
    pytest.importorskip("ai_edge_litert", reason="runs the .tflite file")
    return small_file()[1]


@pytest.fixture
def bare():
    """A model without a tokenizer, and its file."""
    pytest.importorskip("ai_edge_litert", reason="runs the .tflite file")
    return bare_file()


@pytest.fixture
def artifact(litert, tmp_path):
    """A copy of the .tflite file and its certificate."""
    shutil.copy(certificate_path(litert), tmp_path / "model.certificate.json")
    return shutil.copy(litert, tmp_path / "model.tflite")


@pytest.fixture
def saved_model_copy(saved_model, tmp_path):
    return shutil.copytree(saved_model, tmp_path / "1")


@pytest.fixture
def edit():
    """Changes the contents of a certificate; `sealed` hides the change."""

    def change_file(path, change, *, sealed=False):
        file = certificate_path(path)
        contents = json.loads(file.read_text(encoding="utf-8"))
        change(contents)
        if sealed:
            del contents["seal"]
            contents["seal"] = seal(contents)
        file.write_text(json.dumps(contents), encoding="utf-8")

    return change_file


@pytest.fixture
def failures_of():
    """Verifies an artifact that must fail; returns its failures."""

    def failures(path, model):
        with pytest.raises(CertificateError) as stopped:
            verify(path, model)
        assert str(stopped.value).splitlines()[1:] == [
            f"- {line}" for line in stopped.value.failures
        ]
        return stopped.value.failures

    return failures


class FakeArtifact(Artifact):
    """An artifact that answers as the model does, except for the methods that are given."""

    format, op_set, reads_text, gives_logits = "litert", "the fake's ops", True, True
    dtype = "float32"

    def __init__(self, model, **replaced):
        self._model = model
        vars(self).update(replaced)

    def ops(self):
        return ["ADD", "FlexMul"]

    def non_builtin_ops(self):
        return []

    def encode(self, texts):
        return self._model.tokenizer.encode(texts)

    def decode(self, rows):
        return self._model.tokenizer.decode_bytes(rows)

    def max_new_tokens(self, model):
        return 4

    def generate_greedily(self, prompts, model):
        texts = self._model.generate(prompts, max_new_tokens=4)
        return [GreedyText(*pair, 4) for pair in zip(prompts, texts, strict=True)]

    def logits(self, token_ids):
        return np.array(self._model(token_ids))


@pytest.fixture
def fake_artifact():
    return FakeArtifact


@pytest.fixture
def without_litert(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
