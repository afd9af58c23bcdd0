"""The record, its file and its seal."""

import dataclasses
import json

import pytest

from gpt2_keras.verification.certificate import (
    Certificate,
    CertificateError,
    Check,
    certificate_path,
    seal,
)
from gpt2_keras.verification.verify import verify

CHECKS = (Check("perplexity difference", 1e-7, 5e-5, {"tokens": 9}),)


@pytest.fixture
def certificate(tmp_path):
    """A certificate of an artifact that is not there."""
    return Certificate(
        path=tmp_path / "model.tflite",
        format="litert",
        dtype="float32",
        files={"model.tflite": "ab"},
        inputs={"config": "cd"},
        versions={"python": "3"},
        operators=("ADD",),
        text={"sha256": "ef", "characters": 3},
        checks=CHECKS,
    )


def test_what_is_written_is_read_back(certificate):
    path = certificate.write()
    assert path == certificate_path(certificate.path)
    assert Certificate.read(certificate.path) == certificate
    contents = json.loads(path.read_text(encoding="utf-8"))
    recorded = contents.pop("seal")
    assert recorded == seal(contents)
    assert set(contents) == {
        "format", "kind", "dtype", "files", "inputs", "versions", "operators", "text", "checks",
    }  # fmt: skip
    assert (contents["format"], contents["kind"]) == (1, "litert")


def test_nothing_is_written_if_a_check_failed(certificate):
    failed = dataclasses.replace(CHECKS[0], failure="The perplexity is 9.")
    failing = dataclasses.replace(certificate, checks=(failed,))
    with pytest.raises(CertificateError, match=r"model\.tflite does not equal(.|\n)*- The perple"):
        failing.write()
    assert not certificate_path(failing.path).exists()


def test_a_figure_that_is_not_finite_is_null():
    assert Check("difference", float("nan"), None, {}).to_dict()["figure"] is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff", r"certificate\.json is not UTF-8 text \("),
        (b"{", r"certificate\.json is not JSON \("),
        (b"[]", r"certificate\.json has format=None\."),
        (b'{"format": 2}', r"certificate\.json has format=2\."),
        (b'{"format": 1}', r"certificate\.json has kind=None\."),
        (b'{"format": 1, "kind": 3}', r"certificate\.json has kind=3\."),
    ],
)
def test_a_certificate_that_cannot_be_read_is_an_error(model, artifact, raw, message):
    certificate_path(artifact).write_bytes(raw)
    with pytest.raises(ValueError, match=rf"{message}.* is a JSON object with format=1\. Export"):
        verify(artifact, model)


def test_checks_that_are_none_are_an_error(model, artifact, edit):
    edit(artifact, lambda contents: contents.update(checks=[{"colour": "red"}]))
    with pytest.raises(ValueError, match=r"has checks that are none \(.*colour"):
        verify(artifact, model)


def test_a_missing_certificate_is_an_error(model, artifact):
    certificate_path(artifact).unlink()
    message = r"model\.tflite has no certificate: .*model\.certificate\.json does not exist\."
    with pytest.raises(FileNotFoundError, match=message):
        verify(artifact, model)
