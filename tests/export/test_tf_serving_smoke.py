"""TF Serving's own loader takes the SavedModel: a C++ program without Python."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.export.serving_double import NEW_TOKENS, served_model

SMOKE = Path(__file__).resolve().parents[2] / "export" / "tf_serving" / "smoke"
TEXTS = ['the "cat" sat', "it's 42\n", "é𝄞 \\"]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not (shutil.which("g++") and shutil.which("make")),
    reason="needs Linux with g++ and make: apt-get install g++ make",
)


def ask(program, *arguments):
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def decoded(value):
    if isinstance(value, list):
        return [decoded(item) for item in value]
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def check_answers(model, answers):
    """Compares the outputs of every signature with what the Keras model says."""
    continued = [model.generate_details(text, max_new_tokens=NEW_TOKENS) for text in TEXTS]
    for name in ("serving_default", "generate"):
        for row, expected in enumerate(continued):
            count = answers[name]["num_tokens"][row]
            ids = answers[name]["token_ids"][row][:count]
            assert ids == expected.token_ids
            assert answers[name]["text"][row] == TEXTS[row] + expected.text
            new_bytes = model.tokenizer.decode_bytes(ids)
            assert answers[name]["text_bytes"][row] == TEXTS[row].encode() + new_bytes
            assert answers[name]["finish_reason"][row] == expected.finish_reason
    for row, expected in enumerate(model.score(TEXTS)):
        count = answers["score"]["num_tokens"][row]
        assert answers["score"]["token_ids"][row][:count] == expected.token_ids
        log_probs = answers["score"]["log_probs"][row][:count]
        np.testing.assert_allclose(log_probs, expected.log_probs, atol=1e-5)
        tokens = answers["tokenize"]["token_ids"][row][: answers["tokenize"]["num_tokens"][row]]
        assert tokens == model.tokenizer.encode(TEXTS[row])
        candidates = model.next_tokens(TEXTS[row])
        assert answers["next_token"]["ids"][row] == [c.id for c in candidates]
        assert answers["next_token"]["tokens"][row] == [c.text for c in candidates]
        assert answers["next_token"]["token_bytes"][row] == [
            model.tokenizer.decode_bytes([c.id]) for c in candidates
        ]
        probabilities = [c.probability for c in candidates]
        np.testing.assert_allclose(answers["next_token"]["probs"][row], probabilities, rtol=1e-5)
    assert answers["detokenize"]["text"] == TEXTS
    assert answers["detokenize"]["text_bytes"] == [text.encode() for text in TEXTS]


def check_usage(program, version):
    """Wrong arguments end with 2, a directory without a model with 1."""
    for arguments in ([], [version], [version, "--bad"], [version, "--benchmark", 1, 1, 0]):
        result = ask(program, *arguments)
        assert result.returncode == 2
        assert "usage: smoke VERSION_DIRECTORY [--bad] TEXT..." in result.stderr
    missing = ask(program, version / "missing", "text")
    assert missing.returncode == 1
    assert "Could not find SavedModel" in missing.stderr
    assert missing.stdout == ""


def build(out, *variables):
    """Starts the Makefile; `finish` waits for it."""
    command = ["make", "-C", str(SMOKE), f"PYTHON={sys.executable}", f"OUT={out}", *variables]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process):
    log = process.communicate()[0]
    assert process.returncode == 0, log


# One test, so that the program is compiled once however the suite is divided.
def test_every_signature_answers_in_cpp_as_the_keras_model_does(tmp_path):
    # What the Makefile asks Python for, which takes seconds; the slow test leaves it to it.
    flags = [tf.sysconfig.get_lib(), *tf.sysconfig.get_compile_flags()]
    building = build(tmp_path, f"TENSORFLOW={' '.join(flags)}")
    model, version = served_model()  # meanwhile
    finish(building)
    program = tmp_path / "smoke"
    check_usage(program, version)

    result = ask(program, version, "--bad", *TEXTS)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    names = ["serving_default", "generate", "score", "next_token", "tokenize", "detokenize"]
    assert [line["signature"] for line in lines] == names * 2
    for line in lines[:4]:  # the empty text
        assert line["error"]["code"] == "INVALID_ARGUMENT"
        assert (
            "[text is empty in rows [0]. Send at least one byte per text.]"
            in line["error"]["message"]
        )
    assert lines[4]["outputs"] == {"num_tokens": [0], "token_ids": [[]]}
    answers = {
        line["signature"]: {name: decoded(value) for name, value in line["outputs"].items()}
        for line in lines[6:]
    }
    check_answers(model, answers)


@pytest.mark.slow
def test_the_benchmark_prints_its_figures(tmp_path):
    finish(build(tmp_path))
    result = ask(tmp_path / "smoke", served_model()[1], "--benchmark", 2, 3, 4)
    measured = json.loads(result.stdout)
    assert (measured["batch_size"], measured["new_tokens"], measured["runs"]) == (2, 3, 4)
    assert measured["load_seconds"] > 0
    assert measured["first_answer_seconds"] > 1 / measured["requests_per_second"]
    assert measured["tokens_per_second"] <= measured["requests_per_second"] * 2 * 3 * 1.001
