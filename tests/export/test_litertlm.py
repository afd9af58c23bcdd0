"""The bundle, run by Google's LiteRT-LM runtime."""

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from gpt2_keras.export import Certificate, CertificateError, certify, litertlm, verify
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.verification.certificate import certificate_path
from gpt2_keras.verification.certify import file_hashes
from gpt2_keras.verification.litertlm import LiteRTLMArtifact, _tflite_inside
from tests.models import text_model

for name in ("litert_lm", "litert_lm_builder"):
    pytest.importorskip(name, reason="needs it: pip install 'gpt2-keras[litertlm]'")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "on_device.md"
LENGTH = 64  # of the cache
OTHER_CORPUS = ["a quick brown fox jumps over lazy dogs; zebras quiz vexed jocks! 17 times, "] * 20
PROMPTS = ["the cat", "it's 42 o'clock! é𝄞", "the cat sat on the mat, and " * 4 + "the"]


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=LENGTH)


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("litertlm") / "model.litertlm"
    assert model.export(path, format="litertlm") == path
    return path


@pytest.fixture(scope="module")
def exported(model, bundle):
    return model, bundle


@pytest.fixture(scope="module")
def engine(exported):
    """The runtime with the bundle loaded; it is slow to load and quick to answer."""
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    with litert_lm.Engine(str(exported[1]), cache_dir=":nocache") as engine:
        yield engine


def greedy_session(engine, new_tokens):
    from litert_lm import SamplerConfig

    return engine.create_session(
        apply_prompt_template=False,
        max_output_tokens=new_tokens,
        sampler_config=SamplerConfig(top_k=1, temperature=0.0),
    )


def test_the_runtime_reads_and_writes_the_tokens_of_the_tokenizer(exported, engine):
    tokenizer = exported[0].tokenizer
    for text in [*PROMPTS, " ", "x\n\n  y\t", "ﬁ 日本 \u0301"]:
        ids = engine.tokenize(text)
        assert ids == tokenizer.encode(text)
        assert engine.detokenize(ids) == text


def test_the_runtime_knows_where_a_text_ends_and_puts_nothing_before_it(exported, engine):
    assert engine.eos_token_ids == [[exported[0].tokenizer.end_token_id]]
    assert engine.bos_token_id is None


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_runtime_continues_a_text_as_the_model_does(exported, engine, prompt):
    # The longest prompt has 41 tokens: more than a chunk of 32.
    with greedy_session(engine, 12) as session:
        session.run_prefill([prompt])
        (text,) = session.run_decode().texts
    assert prompt + text == exported[0].generate(prompt, max_new_tokens=12)


def test_the_runtime_streams_a_text_up_to_the_end_of_the_context(exported, engine):
    with greedy_session(engine, 100) as session:  # 64 fit
        session.run_prefill(["the cat"])
        deltas = [answer.texts[0] for answer in session.run_decode_async()]
    expected = exported[0].generate("the cat", max_new_tokens=62)
    assert len(deltas) > 10
    assert "the cat" + "".join(deltas) == expected


def test_an_end_token_begins_a_text(exported, engine):
    with greedy_session(engine, 8) as session:
        session.run_prefill(["<|endoftext|>"])
        (text,) = session.run_decode().texts
    assert text == exported[0].generate("", max_new_tokens=8)


def test_the_page_says_how_to_run_the_bundle(exported, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    monkeypatch.chdir(exported[1].parent)
    exec(next(block for block in blocks if "import litert_lm" in block), {})  # noqa: S102
    text = "Once upon a time" + capsys.readouterr().out
    assert text == exported[0].generate("Once upon a time", max_new_tokens=16)
    names = {file.name for file in exported[1].parent.iterdir()}
    assert names == {"model.litertlm", "model.litertlm.certificate.json"}


def test_its_signatures_are_those_that_the_runtime_asks_for(exported):
    interpreter_module = pytest.importorskip(
        "ai_edge_litert.interpreter",
        reason="needs ai-edge-litert: pip install 'gpt2-keras[litert]'",
    )
    contents = exported[1].read_bytes()
    start = contents.index(b"TFL3") - 4  # a .tflite file names itself in bytes 4 to 8
    interpreter = interpreter_module.Interpreter(model_content=contents[start:])
    signatures = interpreter.get_signature_list()
    assert set(signatures) == {"decode", "prefill_32"}
    caches = ["kv_cache_k_0", "kv_cache_k_1", "kv_cache_v_0", "kv_cache_v_1"]
    for name, time in (("decode", 1), ("prefill_32", 32)):
        details = interpreter.get_signature_runner(name).get_input_details()
        assert set(details) == {"tokens", "input_pos", *caches}
        shapes = {
            key: (detail["shape"].tolist(), detail["dtype"]) for key, detail in details.items()
        }
        assert shapes["tokens"] == ([1, time], np.int32)
        assert shapes["input_pos"] == ([time], np.int32)
        assert shapes["kv_cache_k_0"] == shapes["kv_cache_v_1"] == ([1, 2, 64, 8], np.float32)
    assert set(signatures["decode"]["outputs"]) == {"logits", *caches}
    assert set(signatures["prefill_32"]["outputs"]) == set(caches)


def test_each_weight_is_in_the_bundle_once(exported):
    model, path = exported
    contents = path.read_bytes()
    matrices = [weight.numpy() for weight in model.weights if len(weight.shape) == 2]
    assert len(matrices) == 2 + 4 * model.config.num_layers
    for matrix in matrices:
        assert contents.count(matrix.tobytes()) == 1


@pytest.fixture
def artifact(bundle, tmp_path):
    """A copy of the bundle and its certificate."""
    shutil.copy(certificate_path(bundle), certificate_path(tmp_path / bundle.name))
    return shutil.copy(bundle, tmp_path / bundle.name)


def test_what_export_measured_is_verified(model, bundle):
    certificate = verify(bundle, model)
    assert bundle.with_name("model.litertlm.certificate.json").is_file()
    assert (certificate.format, certificate.dtype) == ("litertlm", "float32")
    assert list(certificate.files) == ["model.litertlm"]
    assert certificate.versions["litert-lm"]
    assert {"FULLY_CONNECTED", "EMBEDDING_LOOKUP"} < set(certificate.operators)
    measured = {check.name: check for check in certificate.checks}
    assert list(measured) == [
        "non-builtin ops",
        "texts with other ids",
        "texts not read back",
        "largest log-probability difference",
        "greedy texts that differ",
        "perplexity difference",
    ]
    assert measured["texts with other ids"].details["texts"] > 400
    assert measured["greedy texts that differ"].details == {"texts": 5, "new_tokens": 16}
    difference = measured["largest log-probability difference"]
    assert 0 < difference.figure < 1e-5 * difference.details["scale"]
    assert measured["perplexity difference"].details["tokens"] > 7000
    assert certificate.passed


@pytest.mark.parametrize("text", ["a", "it's 42 o'clock! é𝄞", "x" * (LENGTH - 1)])
def test_its_log_probabilities_are_those_after_an_end_token(model, bundle, text):
    (log_probs,) = LiteRTLMArtifact(bundle).log_probs([text], model)
    np.testing.assert_allclose(log_probs, model.score(text).log_probs, rtol=0, atol=1e-5)


def test_a_runtime_without_the_shift_would_be_scored_after_one_end_token(
    model, bundle, monkeypatch
):
    end, end_token_id = "<|endoftext|>", model.tokenizer.end_token_id
    assert LiteRTLMArtifact(bundle)._context(end_token_id) == end + end
    loaded = LiteRTLMArtifact(bundle)
    monkeypatch.setattr(loaded, "_scores", lambda read, text: [float(len(read)), hash(read)])
    assert loaded._context(end_token_id) == end


def test_strings_that_the_runtime_does_not_support_are_left_out(model, bundle):
    text = "the cat<|endoftext|> sat\0 on the mat"
    chunks = ["the cat", " sat", " on the mat"]
    certificate = certify(model, bundle, text=text)
    assert certificate.passed
    scores = model.score(chunks)
    details = certificate.checks[-1].details
    assert details["tokens"] == sum(len(score.log_probs) for score in scores)
    mean = sum(sum(score.log_probs) for score in scores) / details["tokens"]
    assert details["artifact"] == pytest.approx(np.exp(-mean), rel=1e-5)


def test_a_flipped_byte_is_found(model, artifact):
    raw = bytearray(artifact.read_bytes())
    raw[-100] ^= 1
    artifact.write_bytes(raw)
    with pytest.raises(CertificateError) as stopped:
        verify(artifact, model)
    (failure,) = stopped.value.failures
    assert failure.startswith("File model.litertlm: found ")


def test_another_tokenizer_is_found_even_if_the_certificate_was_forged(
    model, artifact, monkeypatch, tmp_path
):
    inside = _tflite_inside(artifact).tobytes()
    monkeypatch.setattr(litertlm, "_convert", lambda *_: inside)
    monkeypatch.setattr(litertlm, "finish", lambda contents, _: contents)
    other = text_model(context_length=LENGTH)
    other.tokenizer = GPT2Tokenizer.train(OTHER_CORPUS, vocab_size=model.config.vocab_size)
    swapped = litertlm.to_litertlm(other, tmp_path / "swapped.litertlm")
    with pytest.raises(CertificateError, match="have other ids than those of the model's"):
        certify(model, swapped).write()
    shutil.move(swapped, artifact)
    dataclasses.replace(Certificate.read(artifact), files=file_hashes(artifact)).write()
    with pytest.raises(CertificateError) as stopped:
        verify(artifact, model)
    assert any("have other ids than" in failure for failure in stopped.value.failures)


def test_other_weights_are_found(model, bundle):
    gamma = model.decoder.final_norm.gamma
    kept = gamma.numpy()
    gamma.assign(-kept)
    try:
        changed = certify(model, bundle, text="cats")
    finally:
        gamma.assign(kept)
    assert [check.name for check in changed.checks if not check.passed] == [
        "largest log-probability difference",
        "greedy texts that differ",
        "perplexity difference",
    ]


@pytest.mark.slow
def test_a_bundle_of_int8_weights_and_less_context_passes(model, tmp_path):
    pytest.importorskip("litert_quantizer", reason="needs it: pip install 'gpt2-keras[litert]'")
    path = model.export(tmp_path / "m.litertlm", format="litertlm", context_length=24, dtype="int8")
    (table,) = (w.numpy() for w in model.weights if w.shape == (280, 16))
    assert table.tobytes() not in path.read_bytes()
    certificate = verify(path, model)
    assert certificate.dtype == "int8"
    assert certificate.checks[4].details["new_tokens"] == 12
