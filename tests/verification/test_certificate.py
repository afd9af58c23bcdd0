import dataclasses
import json
import re
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras import GPT2LM, GPT2Config, GPT2Tokenizer
from gpt2_keras.export import (
    Certificate,
    CertificateError,
    certify,
    checks,
    provenance,
    verification,
    verify,
)
from gpt2_keras.export import litert as litert_export
from gpt2_keras.verification.artifact import Artifact, Continuation, certificate_path, file_hashes
from gpt2_keras.verification.certificate import seal
from gpt2_keras.verification.checks import Comparison
from gpt2_keras.verification.text_suite import default_text, passages, suite_texts
from gpt2_keras.version import __version__
from tests.export.device_files import SMALL, bare_file, small_file, small_model
from tests.models import TINY, random_model, text_model

SHA = "[0-9a-f]{64}"


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def saved_model(model, tmp_path_factory):
    return model.export(tmp_path_factory.mktemp("serving") / "model", warmup=False)


@pytest.fixture(scope="module")
def litert():
    """Its `.tflite` file."""
    pytest.importorskip("ai_edge_litert", reason="runs the .tflite file")
    return small_file()[1]


@pytest.fixture
def bare():
    """A model without a tokenizer, and its file."""
    pytest.importorskip("ai_edge_litert", reason="runs the .tflite file")
    return bare_file()


@pytest.fixture
def converted(bare, monkeypatch):
    """Has exports as LiteRT begin with what was converted before."""
    contents = bare[1].read_bytes()
    monkeypatch.setattr(litert_export, "_convert", lambda *_: contents)


@pytest.fixture
def artifact(litert, tmp_path):
    """A copy of the .tflite file and its certificate."""
    shutil.copy(certificate_path(litert), tmp_path / "model.certificate.json")
    return shutil.copy(litert, tmp_path / "model.tflite")


@pytest.fixture
def version(saved_model, tmp_path):
    """A copy of the version directory."""
    return shutil.copytree(saved_model, tmp_path / "1")


def edit(path, change, *, sealed=False):
    """Changes the contents of a certificate; `sealed` hides the change."""
    place = certificate_path(path)
    contents = json.loads(place.read_text(encoding="utf-8"))
    change(contents)
    if sealed:
        del contents["seal"]
        contents["seal"] = seal(contents)
    place.write_text(json.dumps(contents), encoding="utf-8")


def flip_a_byte(path, at=-100):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def failures_of(path, model):
    with pytest.raises(CertificateError) as stopped:
        verify(path, model)
    assert str(stopped.value).splitlines()[1:] == [f"- {line}" for line in stopped.value.failures]
    return stopped.value.failures


def test_a_saved_model_passes_and_its_certificate_says_what_was_measured(model, saved_model):
    place = saved_model / "certificate.json"
    contents = json.loads(place.read_text(encoding="utf-8"))
    certificate = verify(saved_model, model)
    assert certificate.passed
    assert place.read_text(encoding="utf-8") == Certificate.read(saved_model).to_json()
    assert (contents["format"], contents["kind"], contents["dtype"]) == (
        1,
        "tf_saved_model",
        "float32",
    )
    assert {"saved_model.pb", "variables/variables.index"} < set(contents["files"])
    assert set(contents["inputs"]) == {"config", "weights", "tokenizer"}
    assert contents["versions"]["tensorflow"] == tf.__version__
    assert contents["versions"]["gpt2_keras"] == __version__
    assert {"MatMul", "StringJoin"} < set(contents["operators"])
    measured = {check["name"]: check for check in contents["checks"]}
    assert list(measured) == [
        "foreign operators",
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
    assert certificate.kind == "litert"
    assert "FULLY_CONNECTED" in certificate.operators
    greedy = certificate.checks[4].details
    assert greedy == {"texts": 10, "new_tokens": 16}  # of `generate`, and of `prefill` and `decode`
    difference = certificate.checks[3]
    assert difference.name == "largest logit difference"
    assert 0 < difference.figure < 1e-5 * difference.details["scale"]
    assert difference.limit == pytest.approx(1e-4 * difference.details["scale"])
    perplexity = certificate.checks[5].details
    assert perplexity["artifact"] == pytest.approx(perplexity["model"], rel=5e-5)
    assert "texts with other ids 0, " in certificate.summary


def test_its_perplexity_is_that_of_score(model, litert):
    text = "the cat sat on the mat"
    certificate = certify(model, litert, text=text)
    details = certificate.checks[-1].details
    assert details["model"] == pytest.approx(model.score(text).perplexity, rel=1e-5)
    assert certificate.text["characters"] == len(text)


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (
            lambda path: flip_a_byte(path / "variables" / "variables.data-00000-of-00001"),
            f"File variables/variables.data-00000-of-00001: not as in the certificate. "
            f"Received: {SHA}, and the certificate has {SHA}.",
        ),
        (
            lambda path: (path / "variables" / "variables.index").unlink(),
            f"File variables/variables.index: .* Received: nothing, and the certificate has {SHA}",
        ),
        (
            lambda path: (path / "assets" / "note.txt").write_text("hello"),
            f"File assets/note.txt: .* Received: {SHA}, and the certificate has nothing",
        ),
    ],
)
def test_a_changed_missing_or_surplus_file_fails(model, version, tamper, message):
    (version / "assets").mkdir(exist_ok=True)
    tamper(version)
    (failure,) = failures_of(version, model)
    assert re.fullmatch(message + r"\.?", failure), failure


def test_another_model_fails(model, artifact):
    other = text_model(seed=1, **SMALL)
    (failure,) = failures_of(artifact, other)
    assert failure == (
        "The model's weights: not as in the certificate. "
        f"Received: {provenance.fingerprints(other)['weights']}, "
        f"and the certificate has {provenance.fingerprints(model)['weights']}."
    )


def test_a_certificate_of_another_artifact_fails(model, artifact, saved_model):
    shutil.copy(saved_model / "certificate.json", certificate_path(artifact))
    failures = failures_of(artifact, model)
    assert failures[0] == (
        "The format: not as in the certificate. "
        "Received: litert, and the certificate has tf_saved_model."
    )
    assert any(failure.startswith("File saved_model.pb: ") for failure in failures)


def other_tokenizer(size):
    corpus = ["a quick brown fox jumps over lazy dogs; zebras quiz vexed jocks! 17 times, "] * 20
    tokenizer = GPT2Tokenizer.train(corpus, vocab_size=size)
    assert tokenizer.vocab_size == size
    return tokenizer


@pytest.mark.slow
def test_a_swapped_tokenizer_is_found_even_if_its_certificate_was_forged(model, artifact, tmp_path):
    other = text_model(**SMALL)
    other.tokenizer = other_tokenizer(model.config.vocab_size)
    swapped = other.export(tmp_path / "other.tflite", format="litert", certificate=False)
    with pytest.raises(CertificateError, match="must give the ids of the model's tokenizer"):
        certify(model, swapped).write()
    assert not certificate_path(swapped).exists()
    shutil.copy(swapped, artifact)
    (failure,) = failures_of(artifact, model)
    assert failure.startswith("File model.tflite: not as in the certificate. Received: ")
    written = Certificate.read(artifact)
    dataclasses.replace(written, files=file_hashes(artifact)).write()
    failures = failures_of(artifact, model)
    assert "texts with other ids; " in failures[-2]
    assert failures[-1].startswith("The artifact must turn ids into the bytes they stand for. ")
    assert any(failure.startswith("texts with other ids: figure: ") for failure in failures)


def set_detail(name, key, value):
    def change(contents):
        (check,) = [check for check in contents["checks"] if check["name"] == name]
        (check if key in check else check["details"])[key] = value

    return change


EDITS = {
    "figure": (
        set_detail("largest logit difference", "figure", 0.5),
        r"largest logit difference: figure: .* the certificate has 0.5\.",
    ),
    "perplexity": (
        set_detail("perplexity difference", "model", 12.5),
        r"perplexity difference: model: .* Received: \d+\.\d+, and the certificate has 12.5\.",
    ),
    "count": (
        set_detail("texts with other ids", "texts", 9000),
        r"texts with other ids: texts: .* Received: \d+, and the certificate has 9000\.",
    ),
    "limit": (
        set_detail("perplexity difference", "limit", 0.5),
        r"perplexity difference: limit: .* Received: 5e-05, and the certificate has 0.5\.",
    ),
    "dtype": (
        lambda contents: contents.update(dtype="int8"),
        r"The storage type: .* Received: float32, and the certificate has int8\.",
    ),
    "op": (
        lambda contents: contents["operators"].append("FlexAdd"),
        r"Op FlexAdd: .* Received: nothing, and the certificate has one\.",
    ),
    "check": (
        lambda contents: contents["checks"].pop(),
        r"Check perplexity difference: .* Received: one, and the certificate has nothing\.",
    ),
}


@pytest.fixture
def measured(litert, monkeypatch):
    """Has `verify` find what the certificate says, without measuring it again."""
    certificate = Certificate.read(litert)
    monkeypatch.setattr(verification, "certify", lambda *args, **kwargs: certificate)


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_certificate_fails_though_it_was_sealed_again(model, artifact, name, measured):
    change, message = EDITS[name]
    edit(artifact, change, sealed=True)
    (failure,) = failures_of(artifact, model)
    assert re.search(message, failure), failure


def test_any_edit_breaks_the_seal(model, artifact, measured):
    edit(artifact, lambda contents: contents["versions"].update(tensorflow="9.9"))
    (failure,) = failures_of(artifact, model)
    assert failure.startswith("The certificate was edited after it was written. Received: seal ")


def test_with_another_text_only_limits_are_kept(model, artifact):
    text = "the dog sat on the log. " * 5
    certificate = verify(artifact, model, text=text)
    assert certificate.text != Certificate.read(artifact).text
    assert certificate.checks[-1].details["tokens"] < 200


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff", r"certificate.json, which is no UTF-8 text \("),
        (b"{", r"certificate.json, which is no JSON \("),
        (b"[]", r"certificate.json, with format=None\."),
        (b'{"format": 2}', r"with format=2\."),
        (b'{"format": 1}', r"with kind=None\."),
        (b'{"format": 1, "kind": 3}', r"with kind=3\."),
    ],
)
def test_a_certificate_that_cannot_be_read_is_an_error(model, artifact, raw, message):
    certificate_path(artifact).write_bytes(raw)
    with pytest.raises(ValueError, match=rf"JSON object with format=1. Received: .*{message}"):
        verify(artifact, model)


def test_checks_that_are_none_are_an_error(model, artifact):
    edit(artifact, lambda contents: contents.update(checks=[{"colour": "red"}]))
    with pytest.raises(ValueError, match=r"with checks that are none \(.*colour"):
        verify(artifact, model)


def test_a_missing_certificate_is_an_error(model, artifact):
    certificate_path(artifact).unlink()
    with pytest.raises(FileNotFoundError, match=r"Received: .*model.tflite, without .*certificate"):
        verify(artifact, model)


def test_what_is_no_artifact_is_refused(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Received: .*nowhere, which is not there"):
        certify(model, tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"none of these. Name another place"):
        certify(model, tmp_path)
    (tmp_path / "2").mkdir()
    (tmp_path / "10").mkdir()
    with pytest.raises(ValueError, match=r"none of these. Name the version: .*10\."):
        verify(tmp_path, model)
    (tmp_path / "bad.tflite").write_bytes(b"no flatbuffer, but long enough" * 9)
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"A SavedModel must load. Received: .*3: "):
        certify(model, tmp_path / "3")


def test_a_saved_model_without_the_signatures_is_refused(model, tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    with pytest.raises(ValueError, match="without serving_default, generate, score, tokenize, de"):
        certify(model, tmp_path / "1")


def test_a_tflite_file_that_is_none_is_refused(model, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="reads the .tflite file")
    place = tmp_path / "bad.tflite"
    place.write_bytes(b"no flatbuffer, but long enough" * 9)
    with pytest.raises(ValueError, match=r"A .tflite file must load. Received: .*bad.tflite: "):
        certify(model, place)


def test_the_text_must_not_be_empty(model, litert):
    with pytest.raises(ValueError, match=r"must have a token at least. Received: 0 characters"):
        certify(model, litert, text="")


def test_an_export_that_does_not_pass_stays_without_a_certificate(converted, tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "FLOAT32_TOLERANCE", 0.0)
    with pytest.raises(CertificateError, match=r"at most 0. Received: \d.*e-\d+. Export") as error:
        random_model().export(tmp_path / "model.tflite", format="litert")
    assert len(error.value.failures) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def test_without_litert_nothing_is_exported_but_without_a_certificate(
    converted, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    place = tmp_path / "model.tflite"
    with pytest.raises(ImportError, match=r"needs ai-edge-litert, .* or export without a cert"):
        random_model().export(place, format="litert")
    assert list(tmp_path.iterdir()) == []
    random_model().export(place, format="litert", certificate=False)
    assert place.is_file()


@pytest.mark.slow
def test_a_tflite_file_of_less_context_passes(model, tmp_path):
    place = model.export(tmp_path / "model.tflite", format="litert", context_length=24)
    assert verify(place, model).passed


def test_a_model_without_a_tokenizer_has_its_logits_compared(model, bare):
    unworded, place = bare
    names = [check.name for check in verify(place, unworded).checks]
    assert names == ["foreign operators", "largest logit difference"]
    with pytest.raises(ValueError, match=r"tokenizers of the artifact: 0, of the model: 1"):
        certify(model, place)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_smaller_weights_are_reported_and_keep_the_perplexity(model, tmp_path, dtype):
    place = model.export(tmp_path / "out", dtype=dtype, warmup=False)
    certificate = verify(place, model)
    assert certificate.dtype == dtype
    by_name = {check.name: check for check in certificate.checks}
    difference = by_name["largest log-probability difference"]
    assert difference.limit is None
    assert difference.figure > 1e-3
    assert by_name["greedy texts that differ"].limit is None
    assert by_name["perplexity difference"].limit == 0.01
    print(dtype, certificate.summary)


class Actor(Artifact):
    """An artifact that answers as the model does, but for what it is told."""

    kind, home, reads_text, gives_logits = "litert", "stage ops", True, True
    dtype = "float32"

    def __init__(self, model, **lies):
        self._model = model
        vars(self).update(lies)

    def operators(self):
        return ["ADD", "FlexMul"]

    def foreign_operators(self):
        return []

    def encode(self, texts):
        return self._model.tokenizer.encode(texts)

    def decode(self, rows):
        return self._model.tokenizer.decode_bytes(rows)

    def new_tokens(self, model):
        return 4

    def continue_greedily(self, prompts, model):
        texts = self._model.generate(prompts, max_new_tokens=4)
        return [Continuation(*pair, 4) for pair in zip(prompts, texts, strict=True)]

    def logits(self, token_ids):
        return np.array(self._model(token_ids))


TEXT = "the cat sat on the mat. " * 4


def failures_of_actor(model, **lies):
    results = checks.run_checks(model, Actor(model, **lies), TEXT)
    return [check.failure for check in results if not check.passed]


def test_an_honest_artifact_passes_every_check(model):
    assert failures_of_actor(model) == []


@pytest.mark.parametrize(
    ("lies", "message"),
    [
        (
            {"foreign_operators": lambda: ["FlexMul"]},
            "The artifact must hold stage ops alone. Received: FlexMul. Please report this.",
        ),
        (
            {"decode": lambda rows: [b"x"] * len(rows)},
            "The artifact must turn ids into the bytes they stand for. Received: ",
        ),
        (
            {
                "continue_greedily": lambda prompts, _: [
                    Continuation(p, p + "!", 4) for p in prompts
                ]
            },
            "The artifact must continue a text as `model.generate` does. "
            "Received: 5 of 5 texts that differ; 'The!', and from the model 'The",
        ),
    ],
)
def test_each_lie_is_told(model, lies, message):
    (failure,) = failures_of_actor(model, **lies)
    assert failure.startswith(message), failure


def test_a_logit_that_is_no_number_fails_in_every_dtype(model):
    def logits(token_ids):
        return np.full((1, token_ids.shape[1], model.config.vocab_size), np.nan)

    for dtype in ("float32", "int8"):
        difference, perplexity = failures_of_actor(model, logits=logits, dtype=dtype)
        assert "Received: nan. Export this model again as litert" in difference
        assert "differ by" in perplexity
        assert "Received: nan, and from the model" in perplexity
    results = checks.run_checks(model, Actor(model, logits=logits), TEXT)
    assert [check.to_dict()["figure"] for check in results][-1] is None


def test_greedy_texts_of_smaller_weights_are_reported_alone(model):
    def shrug(prompts, model):
        return [Continuation(prompt, "?", 4) for prompt in prompts]

    results = checks.run_checks(model, Actor(model, dtype="int8", continue_greedily=shrug), TEXT)
    (greedy,) = [check for check in results if check.name == "greedy texts that differ"]
    assert (greedy.figure, greedy.limit, greedy.passed) == (5, None, True)


@pytest.mark.parametrize(
    ("exact", "shift", "message"),
    [
        (True, 1e-5, ""),
        (True, 1e-4, "differ by 0.005% at most. Received: 7.38832, and from the model 7.38906, "),
        (False, 0.0099, ""),
        (False, 0.0102, "differ by 1.000% at most. Received: 7.31407, and from the model 7.38906"),
    ],
)
def test_perplexities_are_equal_to_four_digits_or_a_percent(exact, shift, message):
    compared = Comparison("logit", tokens=10, ours=-20.0, theirs=-20.0 + 10 * shift)
    check = checks._perplexity(exact, compared)
    assert message in check.failure
    assert check.passed == (not message)
    assert check.figure == pytest.approx(shift, rel=0.01)


def test_a_model_that_computes_in_bfloat16_has_no_float32_limits():
    model = text_model(**SMALL)
    half = GPT2LM(model.config, model.tokenizer, dtype="mixed_bfloat16")
    results = checks.run_checks(half, Actor(half), TEXT)
    assert [check.limit for check in results][3:] == [None, None, 0.01]


def test_progress_is_of_the_text_s_bytes(model):
    calls = []
    checks.run_checks(model, Actor(model), "é" * 60, lambda *call: calls.append(call))
    assert calls[-1] == (120, 120)
    assert calls == sorted(calls)
    assert len(calls) > 1


def test_the_suite_holds_what_breaks_tokenizers():
    texts = suite_texts()
    assert texts == suite_texts()
    everything = "".join(texts)
    assert "" in texts
    for sample in ("'ll", "\u3000", "\x00", "👨‍👩‍👧", "e\u0301", "人人", "العربية"[:2], "\t", "²"):
        assert sample in everything
    assert max(map(len, texts)) >= 300
    assert len(texts) > 300


def test_passages_are_the_text_and_fit():
    tokenizer = GPT2Tokenizer.train(["the cat"], vocab_size=258)
    text = "the cat, the 👨‍👩‍👧 and " * 9
    parts = passages(text, tokenizer, 10)
    assert "".join(parts) == text
    assert max(len(tokenizer.encode(part)) for part in parts) <= 10
    assert passages("a𝄞b", tokenizer, 3) == ["a", "b"]  # four bytes do not fit three tokens
    assert passages("", tokenizer, 3) == []


def test_fingerprints_are_of_the_model_and_not_of_its_files(model, tmp_path):
    prints = provenance.fingerprints(model)
    model.save_to_preset(tmp_path / "model")
    again = GPT2LM.from_preset(tmp_path / "model", dropout_rate=0.5)
    assert provenance.fingerprints(again) == prints
    again.decoder.final_norm.gamma.assign(again.decoder.final_norm.gamma * 1.5)
    changed = provenance.fingerprints(again)
    assert {name for name in prints if prints[name] != changed[name]} == {"weights"}
    wider = GPT2Config(**{**TINY.to_dict(), "num_heads": 1})
    bare, other = (provenance.fingerprints(random_model(config)) for config in (TINY, wider))
    assert bare["weights"] == other["weights"]
    assert bare["config"] != other["config"]


def test_what_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(provenance, "_PACKAGES", ("tensorflow", "no-such-package"))
    assert provenance.versions()["no-such-package"] is None
