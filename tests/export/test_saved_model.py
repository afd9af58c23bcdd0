import json
import subprocess
import sys

import pytest
import tensorflow as tf

from gpt2_keras.export import clients, saved_model
from tests.models import random_model, text_model

PROMPTS = ["the cat", "", "it's 42, the dog sat on the log", "é𝄞\n\n x"]
NEW_TOKENS = 10


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, its version directory, and the loaded signature."""
    model = text_model(context_length=64)
    place = model.export(tmp_path_factory.mktemp("serving") / "model", max_new_tokens=NEW_TOKENS)
    loaded = tf.saved_model.load(str(place))
    return model, place, loaded.signatures["serving_default"]


def test_its_text_is_that_of_generate(exported):
    model, _, ask = exported
    answers = ask(text=tf.constant(PROMPTS))
    texts = [text.decode() for text in answers["text"].numpy()]
    assert texts == model.generate(PROMPTS, max_new_tokens=NEW_TOKENS)


def test_a_row_gets_the_answer_it_gets_alone(exported):
    _, _, ask = exported
    together = ask(text=tf.constant(PROMPTS))["text_bytes"].numpy().tolist()
    assert together == [ask(text=tf.constant([p]))["text_bytes"].numpy()[0] for p in PROMPTS]


def test_its_ids_and_bytes_are_those_of_the_new_tokens(exported):
    model, _, ask = exported
    answers = {name: value.numpy() for name, value in ask(text=tf.constant(PROMPTS)).items()}
    assert set(answers) == {"text", "text_bytes", "token_ids", "num_tokens"}
    for row, prompt in enumerate(PROMPTS):
        ids = answers["token_ids"][row, : answers["num_tokens"][row]].tolist()
        new_bytes = model.tokenizer.decode_bytes(ids)
        assert answers["text_bytes"][row] == prompt.encode() + new_bytes
        assert answers["text"][row].decode() == prompt + new_bytes.decode(errors="replace")


def test_bytes_that_are_no_utf8_are_answered(exported):
    _, _, ask = exported
    answers = ask(text=tf.constant([b"\xff the \xe2\x82"]))
    assert answers["text_bytes"].numpy()[0].startswith(b"\xff the \xe2\x82")
    assert answers["text"].numpy()[0].decode().startswith("\ufffd the \ufffd")


def test_a_batch_without_rows_has_an_answer_without_rows(exported):
    answers = exported[2](text=tf.constant([], tf.string))
    assert answers["text"].shape == (0,)


def test_a_text_that_is_too_long_is_refused_and_the_next_one_answered(exported):
    _, _, ask = exported
    message = r"must fit into the context. Here a text may have 54 tokens: 10 of 64 are for"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask(text=tf.constant(["short", "zq" * 60]))
    assert ask(text=tf.constant(["short"]))["text"].numpy()[0].startswith(b"short")


BARE_PROCESS = """
import json, runpy, sys
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

program, directory = sys.argv[1:3]
contents = saved_model_pb2.SavedModel()
contents.ParseFromString(open(directory + "/saved_model.pb", "rb").read())
graph = contents.meta_graphs[0].graph_def
nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
functions = {function.signature.name for function in graph.library.function}
ops = {node.op for node in nodes} - functions
print(json.dumps(sorted(ops)))
print(json.dumps(sorted(op for op in ops if op_def_registry.get(op) is None)))
sys.argv = sys.argv[1:]
runpy.run_path(program, run_name="__main__")
guests = {"gpt2_keras", "tensorflow_text", "keras_hub", "keras_nlp", "tokenizers"}
print(json.dumps(sorted(guests & set(sys.modules))))
"""


def test_a_process_with_tensorflow_alone_runs_it_with_core_ops_alone(exported):
    model, place, _ = exported
    program = clients.__path__[0] + "/ask_saved_model.py"
    command = [sys.executable, "-I", "-c", BARE_PROCESS, program, str(place), *PROMPTS]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    ops, foreign_ops, answers, guests = map(json.loads, result.stdout.splitlines()[-4:])
    print("ops of the SavedModel:", *ops)
    assert {"MatMul", "StringJoin", "StatelessWhile"} <= set(ops)
    assert foreign_ops == []
    assert not any("Hash" in op or "PyFunc" in op or "Xla" in op for op in ops)
    assert answers == model.generate(PROMPTS, max_new_tokens=NEW_TOKENS)
    assert guests == []


def test_there_is_no_file_beside_graph_and_variables(exported):
    files = sorted(
        str(path.relative_to(exported[1])) for path in exported[1].rglob("*") if path.is_file()
    )
    assert files == [
        "fingerprint.pb",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]


def test_a_second_export_gets_the_next_number(tmp_path, monkeypatch):
    model = text_model()
    monkeypatch.setattr(tf.saved_model, "save", lambda module, path, signatures: None)
    (tmp_path / ".1.0123.unfinished").mkdir()  # left by an export that was killed
    assert model.export(tmp_path) == tmp_path / "1"
    assert model.export(tmp_path) == tmp_path / "2"
    (tmp_path / "7").mkdir()
    assert model.export(tmp_path) == tmp_path / "8"


def test_a_place_that_holds_something_else_is_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="which holds 1 entries"):
        text_model().export(tmp_path)
    with pytest.raises(NotADirectoryError, match=r"thesis\.tex, a file"):
        text_model().export(tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch, error):
    def fail(module, path, signatures):
        raise error

    monkeypatch.setattr(saved_model.tf.saved_model, "save", fail)
    with pytest.raises(type(error)):
        text_model().export(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_bad_arguments_are_refused(tmp_path):
    for count in (0, 32):
        with pytest.raises(ValueError, match=f"max_new_tokens={count}, context_length=32"):
            text_model().export(tmp_path, max_new_tokens=count)
    with pytest.raises(ValueError, match=r"tf_saved_model, litert. Received: format='onnx'"):
        text_model().export(tmp_path, format="onnx")
    with pytest.raises(ValueError, match="tokenizer=None"):
        random_model().export(tmp_path)
    assert list(tmp_path.iterdir()) == []
