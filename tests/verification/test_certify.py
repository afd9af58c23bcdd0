"""What is measured on an artifact, and on which model."""

import json

import pytest
import tensorflow as tf

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.export import litert as litert_export
from gpt2_keras.verification import certify as module
from gpt2_keras.verification import checks
from gpt2_keras.verification.certificate import Certificate, CertificateError
from gpt2_keras.verification.certify import certify, fingerprints, versions
from gpt2_keras.verification.text_suite import default_text
from gpt2_keras.verification.verify import verify
from gpt2_keras.version import __version__
from tests.models import TINY, random_model
from tests.test_model import ROUNDING


@pytest.fixture
def converted(bare, monkeypatch):
    """Exports to LiteRT begin with a file that was converted before."""
    contents = bare[1].read_bytes()
    monkeypatch.setattr(litert_export, "_convert", lambda *_: contents)


def test_a_saved_model_passes_and_its_certificate_says_what_was_measured(model, saved_model):
    path = saved_model / "certificate.json"
    contents = json.loads(path.read_text(encoding="utf-8"))
    certificate = verify(saved_model, model)
    assert certificate.passed
    assert path.read_text(encoding="utf-8") == Certificate.read(saved_model).to_json()
    assert (contents["kind"], contents["dtype"]) == ("tf_saved_model", "float32")
    assert {"saved_model.pb", "variables/variables.index"} < set(contents["files"])
    assert set(contents["inputs"]) == {"config", "weights", "tokenizer"}
    assert contents["versions"]["tensorflow"] == tf.__version__
    assert contents["versions"]["gpt2_keras"] == __version__
    assert {"MatMul", "StringJoin"} < set(contents["operators"])
    measured = {check["name"]: check for check in contents["checks"]}
    assert list(measured) == [
        "non-builtin ops",
        "weights that differ",
        "texts with other ids",
        "texts not read back",
        "largest log-probability difference",
        "greedy texts that differ",
        "perplexity difference",
    ]
    assert measured["texts with other ids"]["details"]["texts"] > 400
    assert measured["greedy texts that differ"]["details"]["texts"] == 5
    text_tokens = len(model.tokenizer.encode(default_text()))
    assert abs(measured["perplexity difference"]["details"]["tokens"] - text_tokens) < 100
    assert all(check["figure"] <= check["limit"] for check in contents["checks"])


def test_a_tflite_file_passes_with_its_logits_compared(model, litert):
    certificate = verify(litert, model)
    assert litert.with_name("model.certificate.json").is_file()
    assert certificate.format == "litert"
    assert "FULLY_CONNECTED" in certificate.operators
    greedy = certificate.checks[4].details
    assert greedy == {"texts": 10, "new_tokens": 16}  # of `generate`, and of `prefill` and `decode`
    difference = certificate.checks[3]
    assert difference.name == "largest logit difference"
    assert 0 < difference.figure < ROUNDING * difference.details["scale"]
    assert difference.limit == pytest.approx(1e-4 * difference.details["scale"])
    assert "texts with other ids 0, " in certificate.summary


def test_the_perplexity_of_a_tflite_file_is_that_of_score(model, litert):
    text = "the cat sat on the mat"
    certificate = certify(model, litert, text=text)
    details = certificate.checks[-1].details
    # A log-probability is a logit less a log-sum-exp of logits: each is off by ROUNDING of the
    # largest logit, in both. A relative error of perplexity is an error of their mean.
    error = 2 * 2 * ROUNDING * certificate.checks[3].details["scale"]
    assert details["model"] == pytest.approx(model.score(text).perplexity, rel=error)
    assert details["artifact"] == pytest.approx(details["model"], rel=error)
    assert certificate.text["characters"] == len(text)


def test_the_text_must_not_be_empty(model, litert):
    with pytest.raises(ValueError, match=r"text of 0 characters .* has no tokens\. It must have"):
        certify(model, litert, text="")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"artifact_path": 3},
            r"artifact_path=3 is an int\. Use a path\.",
        ),
        (
            {"artifact_path": "m.tflite", "text": b"a"},
            r"text=b'a' is a bytes\. Use a str\. Decode bytes first\.",
        ),
    ],
)
@pytest.mark.parametrize("function", [certify, verify])
def test_an_argument_of_a_wrong_type_is_an_error(model, function, arguments, message):
    with pytest.raises(TypeError, match=message):
        function(model=model, **arguments)


def test_an_export_that_does_not_pass_stays_without_a_certificate(converted, tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "FLOAT32_TOLERANCE", 0.0)
    message = r"logit difference is \d.*e-\d+\. It must be at most 0\. Export"
    with pytest.raises(CertificateError, match=message) as error:
        random_model().export(tmp_path / "model.tflite", format="litert")
    assert len(error.value.failures) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def test_without_litert_only_exports_without_a_certificate_are_written(
    converted, tmp_path, without_litert
):
    path = tmp_path / "model.tflite"
    with pytest.raises(ImportError, match=r"ai-edge-litert is not .* or use certificate=False"):
        random_model().export(path, format="litert")
    assert list(tmp_path.iterdir()) == []
    random_model().export(path, format="litert", certificate=False)
    assert path.is_file()


@pytest.mark.slow
def test_a_tflite_file_with_a_shorter_context_passes(model, tmp_path):
    path = model.export(tmp_path / "model.tflite", format="litert", context_length=24)
    assert verify(path, model).passed


def test_a_model_without_a_tokenizer_has_its_logits_compared(model, bare):
    without_tokenizer, path = bare
    names = [check.name for check in verify(path, without_tokenizer).checks]
    assert names == ["non-builtin ops", "largest logit difference"]
    with pytest.raises(ValueError, match=r"The model has a tokenizer and the artifact has none"):
        certify(model, path)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_smaller_weights_are_reported_and_keep_the_perplexity(model, tmp_path, dtype):
    path = model.export(tmp_path / "out", dtype=dtype, warmup=False)
    certificate = verify(path, model)
    assert certificate.dtype == dtype
    by_name = {check.name: check for check in certificate.checks}
    difference = by_name["largest log-probability difference"]
    assert difference.limit is None
    assert difference.figure > 1e-3  # half of float16's epsilon of a log-probability above 2
    assert by_name["greedy texts that differ"].limit is None
    assert by_name["perplexity difference"].limit == 0.01
    print(dtype, certificate.summary)


def test_fingerprints_are_of_the_model_and_not_of_its_files(model, tmp_path):
    prints = fingerprints(model)
    model.save_to_preset(tmp_path / "model")
    again = GPT2LM.from_preset(tmp_path / "model", dropout_rate=0.5)
    assert fingerprints(again) == prints
    again.decoder.final_norm.gamma.assign(again.decoder.final_norm.gamma * 1.5)
    changed = fingerprints(again)
    assert {name for name in prints if prints[name] != changed[name]} == {"weights"}
    other_heads = GPT2Config(**{**TINY.to_dict(), "num_heads": 1})
    bare, other = (fingerprints(random_model(config)) for config in (TINY, other_heads))
    assert bare["weights"] == other["weights"]
    assert bare["config"] != other["config"]


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(module, "_PACKAGES", ("tensorflow", "no-such-package"))
    assert versions()["no-such-package"] is None
