"""Exports follow the policy of special tokens and what a checkpoint says of generation."""

import json

import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras.checkpoints import save_gguf
from gpt2_keras.export import CertificateError, verify
from gpt2_keras.finetuning import add_special_tokens
from gpt2_keras.generation_config import GenerationConfig
from gpt2_keras.verification.litert_metadata import read_metadata
from tests.models import text_model

USER, END = "<|user|>", "<|endoftext|>"
TEXTS = [f"{USER}the cat", f"the {USER}{USER} cat{END}", "the cat"]


@pytest.fixture(scope="module")
def model():
    model = add_special_tokens(text_model(context_length=64), [USER, "<|bot|>"])
    free = model.generate_details(TEXTS, max_new_tokens=12)
    ends = sorted({int(each.token_ids[3]) for each in free})
    assert len(ends) > 1
    model.generation_config = GenerationConfig(
        {
            "eos_token_id": ends,
            "do_sample": True,
            "temperature": 0.9,
            "top_k": 40,
            "min_p": 0.01,
            "repetition_penalty": 1.1,
            "suppress_tokens": [int(free[0].token_ids[0])],
            "bad_words_ids": [[int(t) for t in free[1].token_ids[:2]]],
            "max_new_tokens": 12,
        }
    )
    return model


def rows(answer):
    counts = answer["num_tokens"].numpy()
    return [row[:n].tolist() for row, n in zip(answer["token_ids"].numpy(), counts, strict=True)]


def test_a_saved_model_generates_with_the_defaults_of_the_checkpoint(model, tmp_path):
    path = model.export(tmp_path / "model", warmup=False)  # certified too
    signatures = tf.saved_model.load(str(path)).signatures
    assert rows(signatures["tokenize"](text=tf.constant(TEXTS))) == model.tokenizer.encode(TEXTS)
    answer = signatures["serving_default"](text=tf.constant(TEXTS))
    expected = model.generate_details(TEXTS, seed=[0, 0, 0])
    assert rows(answer) == [each.token_ids for each in expected]
    reasons = [reason.decode() for reason in answer["finish_reason"].numpy()]
    assert reasons == [each.finish_reason for each in expected]
    verify(path, model)
    model.generation_config, before = GenerationConfig(), model.generation_config
    try:
        with pytest.raises(CertificateError, match="The model's generation: found nothing, but"):
            verify(path, model)
    finally:
        model.generation_config = before


def test_a_certificate_is_of_one_policy(model, tmp_path):
    tokenizer = model.tokenizer
    model.tokenizer = tokenizer.with_special_tokens_policy("none")
    try:
        path = model.export(tmp_path / "model", warmup=False)
        signatures = tf.saved_model.load(str(path)).signatures
        ids = rows(signatures["tokenize"](text=tf.constant(TEXTS)))
        assert not {*tokenizer.special_tokens.values()} & {i for row in ids for i in row}
        assert ids == tokenizer.encode(TEXTS, allowed_special="none")
    finally:
        model.tokenizer = tokenizer
    with pytest.raises(CertificateError, match=r"special_tokens: found <\|user\|> <\|bot\|>, but"):
        verify(path, model)


def test_a_file_for_devices_generates_with_the_defaults_of_the_checkpoint(model, tmp_path):
    interpreter_module = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="needs it: pip install 'gpt2-keras[litert]'"
    )
    path = model.export(tmp_path / "model.tflite", format="litert")  # certified too
    interpreter = interpreter_module.Interpreter(str(path))
    run = {name: interpreter.get_signature_runner(name) for name in ("tokenize", "generate")}
    for text in TEXTS:
        data = np.frombuffer(text.encode(), np.uint8)
        assert run["tokenize"](text=data)["token_ids"].tolist() == model.tokenizer.encode(text)
        for temperature in (0.0, 0.9):
            answer = run["generate"](
                text=data,
                max_new_tokens=np.array([12], np.int32),
                temperature=np.array([temperature], np.float32),
                top_k=np.array([40], np.int32),
                seed=np.array([5], np.int32),
            )
            expected = model.generate_details(text, temperature=temperature, seed=5)
            assert answer["token_ids"].tolist() == expected.token_ids
    metadata = read_metadata(path.read_bytes())
    assert metadata["end_token_ids"] == list(model.end_token_ids)
    assert metadata["start_token_id"] == model.tokenizer.end_token_id


def test_a_file_for_devices_answers_a_text_that_ends_at_once(tmp_path):
    interpreter_module = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="needs it: pip install 'gpt2-keras[litert]'"
    )
    model = text_model(context_length=64)
    first = model.generate_details("the cat", max_new_tokens=1).token_ids[0]
    model.generation_config = GenerationConfig({"eos_token_id": int(first)})
    path = model.export(tmp_path / "model.tflite", format="litert", certificate=False)
    numbers = {"max_new_tokens": 4, "top_k": 0, "seed": 0}
    answer = interpreter_module.Interpreter(str(path)).get_signature_runner("generate")(
        text=np.frombuffer(b"the cat", np.uint8),
        temperature=np.zeros(1, np.float32),
        **{name: np.array([value], np.int32) for name, value in numbers.items()},
    )
    assert answer["token_ids"].tolist() == []
    assert (answer["text"].tobytes(), int(answer["finish_reason"])) == (b"the cat", 0)


def test_a_bundle_ends_at_each_end_token_and_has_the_sampler(model, tmp_path):
    litert_lm = pytest.importorskip(
        "litert_lm", reason="needs it: pip install 'gpt2-keras[litertlm]'"
    )
    path = model.export(tmp_path / "model.litertlm", format="litertlm")  # certified too
    with litert_lm.Engine(str(path), cache_dir=":nocache") as engine:
        assert engine.eos_token_ids == [[end] for end in model.end_token_ids]
        assert engine.tokenize(TEXTS[0]) == model.tokenizer.encode(TEXTS[0])


def test_a_gguf_file_has_the_end_tokens(model, tmp_path):
    gguf = pytest.importorskip("gguf", reason="needs it: pip install 'gpt2-keras[gguf]'")
    save_gguf(model, tmp_path / "model.gguf")
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    found = [int(fields[f"tokenizer.ggml.{name}_token_id"].contents()) for name in ("eos", "eot")]
    assert found == list(model.end_token_ids[:2])


def test_a_model_directory_of_it_is_read_with_the_same_defaults(model, tmp_path):
    model.save_to_preset(tmp_path / "model")
    saved = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert saved == dict(model.generation_config.contents)
