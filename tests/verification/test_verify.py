"""What has changed since the certificate was written is found."""

import dataclasses
import re
import shutil

import pytest

from gpt2_keras import GPT2Tokenizer
from gpt2_keras.verification.certificate import Certificate, CertificateError, certificate_path
from gpt2_keras.verification.certify import certify, file_hashes, fingerprints
from gpt2_keras.verification.verify import verify
from tests.export.device_files import SMALL
from tests.models import text_model

SHA = "[0-9a-f]{64}"


def flip_a_byte(path, at=-100):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (
            lambda path: flip_a_byte(path / "variables" / "variables.data-00000-of-00001"),
            f"File variables/variables.data-00000-of-00001: found {SHA}, but the certificate has "
            f"{SHA}.",
        ),
        (
            lambda path: (path / "variables" / "variables.index").unlink(),
            f"File variables/variables.index: found nothing, but the certificate has {SHA}.",
        ),
        (
            lambda path: (path / "assets" / "note.txt").write_text("hello"),
            f"File assets/note.txt: found {SHA}, but the certificate has nothing.",
        ),
    ],
)
def test_a_changed_missing_or_unexpected_file_fails(
    model, saved_model_copy, tamper, message, failures_of
):
    (saved_model_copy / "assets").mkdir(exist_ok=True)
    tamper(saved_model_copy)
    (failure,) = failures_of(saved_model_copy, model)
    assert re.fullmatch(message, failure), failure


def test_another_model_fails(model, artifact, failures_of):
    other = text_model(seed=1, **SMALL)
    (failure,) = failures_of(artifact, other)
    assert failure == (
        f"The model's weights: found {fingerprints(other)['weights']}, "
        f"but the certificate has {fingerprints(model)['weights']}."
    )


def test_a_certificate_of_another_artifact_fails(model, artifact, saved_model, failures_of):
    shutil.copy(saved_model / "certificate.json", certificate_path(artifact))
    failures = failures_of(artifact, model)
    assert failures[0] == "The format: found litert, but the certificate has tf_saved_model."
    assert any(failure.startswith("File saved_model.pb: ") for failure in failures)


def other_tokenizer(size):
    corpus = ["a quick brown fox jumps over lazy dogs; zebras quiz vexed jocks! 17 times, "] * 20
    tokenizer = GPT2Tokenizer.train(corpus, vocab_size=size)
    assert tokenizer.vocab_size == size
    return tokenizer


@pytest.mark.slow
def test_a_swapped_tokenizer_is_found_even_if_its_certificate_was_forged(
    model, artifact, tmp_path, failures_of
):
    other = text_model(**SMALL)
    other.tokenizer = other_tokenizer(model.config.vocab_size)
    swapped = other.export(tmp_path / "other.tflite", format="litert", certificate=False)
    with pytest.raises(CertificateError, match="texts have other ids than those of the model's"):
        certify(model, swapped).write()
    assert not certificate_path(swapped).exists()
    shutil.copy(swapped, artifact)
    (failure,) = failures_of(artifact, model)
    assert failure.startswith("File model.tflite: found ")
    written = Certificate.read(artifact)
    dataclasses.replace(written, files=file_hashes(artifact)).write()
    failures = failures_of(artifact, model)
    assert "texts have other ids" in failures[-2]
    assert "texts do not come back from their ids" in failures[-1]
    assert any(failure.startswith("texts with other ids: figure: ") for failure in failures)


def set_detail(name, key, value):
    def change(contents):
        (check,) = [check for check in contents["checks"] if check["name"] == name]
        (check if key in check else check["details"])[key] = value

    return change


EDITS = {
    "figure": (
        set_detail("largest logit difference", "figure", 0.5),
        r"largest logit difference: figure: found .*, but the certificate has 0\.5\.",
    ),
    "perplexity": (
        set_detail("perplexity difference", "model", 12.5),
        r"perplexity difference: model: found \d+\.\d+, but the certificate has 12\.5\.",
    ),
    "count": (
        set_detail("texts with other ids", "texts", 9000),
        r"texts with other ids: texts: found \d+, but the certificate has 9000\.",
    ),
    "limit": (
        set_detail("perplexity difference", "limit", 0.5),
        r"perplexity difference: limit: found 5e-05, but the certificate has 0\.5\.",
    ),
    "dtype": (
        lambda contents: contents.update(dtype="int8"),
        r"The storage type: found float32, but the certificate has int8\.",
    ),
    "op": (
        lambda contents: contents["operators"].append("FlexAdd"),
        r"Op FlexAdd: found nothing, but the certificate has one\.",
    ),
    "check": (
        lambda contents: contents["checks"].pop(),
        r"Check perplexity difference: found one, but the certificate has nothing\.",
    ),
}


@pytest.fixture
def measured(litert, monkeypatch):
    """Has `verify` find what the certificate says, without measuring it again."""
    certificate = Certificate.read(litert)
    monkeypatch.setattr(
        "gpt2_keras.verification.verify.certify", lambda *args, **kwargs: certificate
    )


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_certificate_fails_though_it_was_sealed_again(
    model, artifact, name, measured, edit, failures_of
):
    change, message = EDITS[name]
    edit(artifact, change, sealed=True)
    (failure,) = failures_of(artifact, model)
    assert re.fullmatch(message, failure), failure


def test_any_edit_breaks_the_seal(model, artifact, measured, edit, failures_of):
    edit(artifact, lambda contents: contents["versions"].update(tensorflow="9.9"))
    (failure,) = failures_of(artifact, model)
    pattern = rf"The certificate has seal {SHA}, and its contents have {SHA}: it was edited .*\."
    assert re.fullmatch(pattern, failure), failure


def test_with_another_text_only_limits_are_kept(model, artifact):
    text = "the dog sat on the log. " * 5
    certificate = verify(artifact, model, text=text)
    assert certificate.text != Certificate.read(artifact).text
    assert certificate.checks[-1].details["tokens"] < 200
