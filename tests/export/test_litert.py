import json
import subprocess
import sys

import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from gpt2_keras.export import clients, litert
from tests.models import random_ids, random_model, text_model

interpreter_module = pytest.importorskip(
    "ai_edge_litert.interpreter", reason="needs ai-edge-litert: pip install 'gpt2-keras[litert]'"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, its file, and an interpreter of it."""
    model = text_model(context_length=64)
    path = model.export(tmp_path_factory.mktemp("litert") / "model.tflite", format="litert")
    return model, path, interpreter_module.Interpreter(model_path=str(path))


def test_its_logits_are_those_of_the_model_at_every_length(exported):
    model, _, interpreter = exported
    logits = interpreter.get_signature_runner("logits")
    for time in (1, 5, 64, 2):
        ids = random_ids((1, time), model.config, seed=time)
        expected = np.array(model(ids))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(logits(token_ids=ids)["logits"], expected, atol=1e-5 * scale)


def test_it_holds_builtin_ops_alone(exported):
    contents = schema.Model.GetRootAsModel(exported[1].read_bytes(), 0)
    codes = [contents.OperatorCodes(i).BuiltinCode() for i in range(contents.OperatorCodesLength())]
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    print("ops of the .tflite:", *sorted(names[code] for code in codes))
    assert schema.BuiltinOperator.FULLY_CONNECTED in codes
    assert schema.BuiltinOperator.CUSTOM not in codes  # Flex ops are custom ones too


def test_its_signatures_are_named(exported):
    assert exported[2].get_signature_list() == {
        "logits": {"inputs": ["token_ids"], "outputs": ["logits"]},
        "tokenize": {"inputs": ["text"], "outputs": ["num_tokens", "token_ids"]},
        "detokenize": {"inputs": ["token_ids"], "outputs": ["text", "text_bytes"]},
    }


def test_a_process_with_litert_alone_continues_texts_as_generate_does(exported):
    model, path, _ = exported
    prompts = ["the cat", "é𝄞\n\n x"]
    program = clients.__path__[0] + "/ask_litert.py"
    code = (
        "import runpy, sys; program = sys.argv[1]; sys.argv = sys.argv[1:]\n"
        "runpy.run_path(program, run_name='__main__')\n"
        "print(sorted({'gpt2_keras', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    command = [sys.executable, "-I", "-c", code, program, str(path), "12", *prompts]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    answers, guests = result.stdout.splitlines()[-2:]
    assert json.loads(answers) == model.generate(prompts, max_new_tokens=12)
    assert guests == "[]"


def test_a_model_without_a_tokenizer_has_logits_alone(tmp_path):
    path = random_model().export(tmp_path / "model.tflite", format="litert")
    interpreter = interpreter_module.Interpreter(model_path=str(path))
    assert list(interpreter.get_signature_list()) == ["logits"]


def test_a_taken_place_is_left_as_it_is(tmp_path):
    place = tmp_path / "model.tflite"
    place.write_text("mine")
    with pytest.raises(FileExistsError, match=r"Received: .*model.tflite, which exists"):
        random_model().export(place, format="litert")
    assert place.read_text() == "mine"


def test_a_conversion_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(model):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(litert, "_convert", fail)
    with pytest.raises(OSError, match="No space left"):
        random_model().export(tmp_path / "model.tflite", format="litert")
    assert list(tmp_path.iterdir()) == []
