"""Forgeries that are consistent in themselves: an edited artifact with hashes and figures anew."""

import dataclasses

import keras
import numpy as np
import pytest

from gpt2_keras.verification.certificate import Certificate, CertificateError, certificate_path
from gpt2_keras.verification.certify import certify, file_hashes, fingerprints
from gpt2_keras.verification.verify import verify
from tests.export.device_files import SMALL, small_model
from tests.models import text_model


def forge(model, path):
    """Writes a certificate whose every word fits the artifact, and that names the model."""
    certificate_path(path).unlink(missing_ok=True)
    other = EDITED[id(path)]
    genuine = certify(other, path)
    dataclasses.replace(genuine, inputs=fingerprints(model), files=file_hashes(path)).write()
    assert Certificate.read(path).inputs == fingerprints(model)


EDITED = {}
# What is edited: a weight, in its last row. No text of the suite reaches the last token's row,
# or the last position, more than a little.
EDITS = {
    "a kernel": lambda model: model.decoder.blocks[0].attention.qkv.kernel,
    "the last position": lambda model: model.position_embedding.embeddings,
    "the last token": lambda model: model.token_embedding.embeddings,
    "a bias": lambda model: model.decoder.blocks[-1].feed_forward.project.bias,
}


FORMS = [("tf_saved_model", "float32"), ("tf_saved_model", "int8"), ("litert", "float32")]


def edited(edit, size=0.05):
    other = text_model(**SMALL)
    variable = EDITS[edit](other)
    value = keras.ops.convert_to_numpy(variable).copy()
    # One number: a norm would take away what a whole row has in common.
    value.reshape(-1)[-1] += size * np.abs(value).max()
    variable.assign(value)
    return other


@pytest.fixture
def export(tmp_path):
    def exported(model, form, **options):
        if form == "litert":
            pytest.importorskip("ai_edge_litert", reason="runs the .tflite file")
            path = tmp_path / "model.tflite"
            model.export(path, format="litert", certificate=False, **options)
        else:
            path = model.export(tmp_path / "model", warmup=False, certificate=False, **options)
        EDITED[id(path)] = model
        return path

    return exported


@pytest.mark.parametrize(
    ("edit", "form", "dtype"),
    [
        ("the last token", "tf_saved_model", "float32"),
        *(
            pytest.param(edit, form, dtype, marks=pytest.mark.slow)
            for edit in EDITS
            for form, dtype in FORMS
        ),
    ],
)
def test_a_forgery_does_not_verify(export, edit, form, dtype):
    model, other = small_model(), edited(edit)
    path = export(other, form, dtype=dtype)
    forge(model, path)
    with pytest.raises(CertificateError, match=r"weights are not those of|difference is|differ"):
        verify(path, model)


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "int8",
        *(pytest.param(d, marks=pytest.mark.slow) for d in ("float16", "bfloat16")),
    ],
)
def test_the_true_one_verifies(export, dtype):
    model = small_model()
    path = export(model, "tf_saved_model", dtype=dtype)
    certify(model, path).write()
    (check,) = [c for c in verify(path, model).checks if c.name == "weights that differ"]
    assert check.figure == 0
    assert check.details == {"weights": len(model.weights)}
