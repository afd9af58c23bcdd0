"""What a path names, and what cannot be opened."""

import pytest
import tensorflow as tf

from gpt2_keras.verification.certify import certify
from gpt2_keras.verification.verify import verify


def test_a_path_without_an_artifact_is_an_error(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist\. Name an artifact"):
        certify(model, tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"is no artifact: neither .* Name another path\."):
        certify(model, tmp_path)


def test_a_directory_of_versions_is_an_error_that_names_the_latest(model, tmp_path):
    for name in ("2", "10", "assets"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"is no artifact: .* Name the version: .*10\."):
        verify(tmp_path, model)


def test_a_saved_model_that_does_not_load_is_an_error(model, tmp_path):
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"3 is no SavedModel that loads: "):
        certify(model, tmp_path / "3")


def test_a_saved_model_without_the_signatures_is_an_error(model, tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    message = r"1 lacks the signatures serving_default, generate, score, tokenize, detokenize\."
    with pytest.raises(ValueError, match=message):
        certify(model, tmp_path / "1")


def test_a_tflite_file_that_does_not_load_is_an_error(model, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="reads the .tflite file")
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"no flatbuffer, but long enough" * 9)
    with pytest.raises(ValueError, match=r"bad\.tflite is no \.tflite file that loads: "):
        certify(model, path)


def test_a_tflite_file_without_the_signatures_is_an_error(bare, tmp_path):
    model, path = bare
    other = tmp_path / "model.tflite"
    other.write_bytes(path.read_bytes().replace(b"logits", b"losses"))
    message = r"has the signatures losses\. A \.tflite file to compare has prefill and decode, or"
    with pytest.raises(ValueError, match=message):
        certify(model, other)
