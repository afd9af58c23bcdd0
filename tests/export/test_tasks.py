"""Tasks inside an export: the answers of Python, in TensorFlow alone and in LiteRT alone."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from gpt2_keras.applications import (
    Chat,
    answer_task,
    chat_task,
    classification_task,
    run_classification,
    run_task,
    summary_task,
    translation_task,
)
from gpt2_keras.export import Certificate, CertificateError, verify
from gpt2_keras.export.tasks import resolve_task
from gpt2_keras.generation import Sampler
from gpt2_keras.verification.certify import certify
from tests.models import CORPUS, text_model

NEW = 12
LONG = CORPUS[0] * 9
TALK = "\n\n".join(f"User: the cat {i}\n\nAssistant: it's {i}." for i in range(9))
ROWS = [
    {"text": "the cat sat", "document": LONG, "question": "who?", "history": ""},
    {"text": " The cat. \"Sat!\" \n", "document": "", "question": " a\tb \n", "history": "User: a"},
    {"text": "é𝄞", "document": "the dog.", "question": "é?", "history": TALK},
    {"text": "<|endoftext|>", "document": "<|endoftext|>", "question": "x", "history": " " + TALK},
]  # fmt: skip


def tasks_of(model):
    return {
        "summarize": summary_task(model, max_new_tokens=NEW, num_sentences=2),
        "translate": translation_task(model, examples=[("a", "b")], max_new_tokens=NEW),
        "answer": answer_task(model, history=[("who?", "it.")], max_new_tokens=NEW),
        "chat": chat_task(model, max_new_tokens=NEW),
        "chat with a system": chat_task(
            model,
            system="Be kind.",
            max_new_tokens=NEW,
            sampler=Sampler(0.9, top_p=0.8, min_p=0.01),
        ),
        "classify": classification_task(
            model, ["sat", "the dog", "sat on"], examples=[("a", "sat")]
        ),
    }


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=96, num_layers=1)


# Of each kind one; the others make the same graphs of other parts.
SLOW = ("summarize", "translate", "chat", "chat with a system")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in ("answer", "classify", *SLOW)
    ],
)
def exported(request, model, tmp_path_factory):
    """A task, the folder of both artifacts of it with certificates, and the signatures of one."""
    home = tmp_path_factory.mktemp("task")
    task = tasks_of(model)[request.param]
    saved = model.export(home / "saved", task=task, warmup=True, certificate=False)
    file = model.export(home / "model.tflite", format="litert", task=task, certificate=False)
    for path in (saved, file):
        certify(model, path, text=CORPUS[0]).write()
    return task, home, tf.saved_model.load(str(saved)).signatures


def prompt_of(task):
    return getattr(task, "prompt", task)


def rows_of(task):
    """The inputs of a task; that which may be cropped is also too long."""
    names = [field.name for field in prompt_of(task).fields]
    rows = [dict(row) for row in ROWS]
    if task.name in ("summarize", "translate", "classify"):
        rows.append(ROWS[0] | {"text": LONG})
    return [{name: row[name] for name in names} for row in rows]


def expected(model, task):
    rows = rows_of(task)
    if task.name == "classify":
        found = [run_classification(model, task, row["text"]) for row in rows]
        return [(each.label, list(each.probabilities.values())) for each in found]
    return [(each.text, []) for each in run_task(model, task, rows, seed=[0] * len(rows))]


# Run where this package is not: what they print is what a user of the file alone gets.
SAVED_MODEL_PROGRAM = """
import json, sys
import tensorflow as tf
sys.modules["gpt2_keras"] = None
loaded = tf.saved_model.load(sys.argv[1])
rows = json.loads(sys.argv[2])
inputs = {name: tf.constant([row[name] for row in rows]) for name in rows[0]}
answer = loaded.signatures["serving_default"](**inputs)
probabilities = answer["probabilities"].numpy().tolist() if "labels" in answer else [[]] * len(rows)
print(json.dumps([[t.decode() for t in answer["text"].numpy()], probabilities,
                  answer["num_cropped"].numpy().tolist()]))
"""
LITERT_PROGRAM = """
import json, sys
import numpy as np
for name in ("gpt2_keras", "tensorflow"):
    sys.modules[name] = None
from ai_edge_litert.interpreter import Interpreter
run = Interpreter(sys.argv[1]).get_signature_runner(sys.argv[3])
texts, probabilities, cropped = [], [], []
for row in json.loads(sys.argv[2]):
    answer = run(**{k: np.frombuffer(v.encode(), np.uint8) for k, v in row.items()})
    texts.append(answer["text"].tobytes().decode())
    probabilities.append(answer["probabilities"].tolist() if "probabilities" in answer else [])
    cropped.append(int(answer["num_cropped"]))
print(json.dumps([texts, probabilities, cropped]))
"""


@pytest.mark.parametrize("runtime", ["TensorFlow", "LiteRT"])
def test_the_answers_are_those_of_python_without_this_package(model, exported, tmp_path, runtime):
    task, home, _ = exported
    program, file = {
        "TensorFlow": (SAVED_MODEL_PROGRAM, home / "saved"),
        "LiteRT": (LITERT_PROGRAM, home / "model.tflite"),
    }[runtime]
    words = [sys.executable, "-c", program, str(file), json.dumps(rows_of(task)), task.name]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-2000:]
    texts, probabilities, cropped = json.loads(ran.stdout.splitlines()[-1])
    wanted = expected(model, task)
    assert texts == [text for text, _ in wanted]
    for found, (_, theirs) in zip(probabilities, wanted, strict=True):
        np.testing.assert_allclose(found, theirs, atol=1e-4)
    assert any(cropped)
    assert not all(cropped)


def test_an_optional_text_may_be_left_out_and_one_is_for_all(exported):
    task, _, signatures = exported
    signature = signatures[task.name]
    names = list(signature.structured_input_signature[1])
    needed = [field.name for field in prompt_of(task).fields if field.required] or ["text"]
    assert set(names) == {field.name for field in prompt_of(task).fields}
    inputs = {name: tf.constant(["the cat", "a", "b"]) for name in needed}
    optional = {name: tf.constant([""]) for name in names if name not in needed}
    answer = signature(**inputs, **optional)
    assert answer["text"].shape[0] == 3
    alone = signature(**{k: v[:1] for k, v in inputs.items()}, **optional)
    assert alone["text"].numpy()[0] == answer["text"].numpy()[0]


def test_no_texts_have_no_answers(exported):
    task, _, signatures = exported
    signature = signatures[task.name]
    answer = signature(
        **{name: tf.constant([], tf.string) for name in signature.structured_input_signature[1]}
    )
    assert all(value.shape[0] == 0 for value in answer.values())


def test_the_default_answers_the_task_and_generate_still_continues(model, exported):
    task, _, signatures = exported
    assert set(signatures["serving_default"].structured_outputs) == set(
        signatures[task.name].structured_outputs
    )
    numbers = {"max_new_tokens": [3], "temperature": [0.0], "top_k": [0], "top_p": [1.0],
               "repetition_penalty": [1.0], "seed": [0]}  # fmt: skip
    answer = signatures["generate"](
        text=tf.constant(["the cat"]), **{k: tf.constant(v) for k, v in numbers.items()}
    )
    assert answer["text"].numpy()[0].decode() == model.generate("the cat", max_new_tokens=3)


@pytest.mark.slow
def test_a_conversation_over_the_export_is_that_of_chat(model, tmp_path):
    task = chat_task(model, max_new_tokens=NEW, sampler=Sampler(temperature=0.0))
    model.export(tmp_path / "m", task=task, warmup=False, certificate=False)
    signature = tf.saved_model.load(str(tmp_path / "m")).signatures["chat"]
    talk = Chat(model, max_new_tokens=NEW, sampler=Sampler(temperature=0.0))
    for message in ("the cat", "who sat on the mat?", "the dog", "it's 42"):
        said = "\n\n".join(f"{m['role'].title()}: {m['content']}".strip() for m in talk.messages)
        answer = signature(text=tf.constant([message]), history=tf.constant([said]))
        assert answer["text"].numpy()[0].decode() == talk.ask(message).text


def test_wrong_texts_fail_their_request(exported):
    task, _, signatures = exported
    needed = next((field.name for field in prompt_of(task).fields if field.required), "text")
    names = {field.name for field in prompt_of(task).fields} - {needed}
    others = {name: tf.constant([""]) for name in names}
    wrong = [
        (" \n", rf"{needed} is empty in rows \[1\]. Send at least one character"),
        (b"\xff", rf"{needed} is not valid UTF-8 in rows \[1\]. Encode it in UTF-8."),
    ]
    if task.name in ("answer", "chat"):  # the others crop it
        wrong.append((LONG, r"The texts have \[0 \d+\] tokens too many for the context of 96 tok"))
    for text, message in wrong:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            signatures[task.name](**{needed: tf.constant(["ok", text])}, **others)


def test_the_certificates_compare_the_answers(model, exported):
    task, home, _ = exported
    for path in (home / "saved", home / "model.tflite"):
        checks = {check.name: check for check in Certificate.read(path).checks}
        check = checks["answers that differ"]
        assert (check.figure, check.limit) == (0, 0)
        assert check.details == {"task": task.name, "texts": 4}


@pytest.mark.slow
def test_a_shorter_context_of_a_file_is_that_of_its_certificate(model, tmp_path):
    path, task = tmp_path / "m.tflite", tasks_of(model)["summarize"]
    model.export(path, format="litert", task=task, context_length=64)
    verify(path, model)


def test_another_answer_is_no_certificate(model, exported, tmp_path):
    """A changed rule in the metadata is another task than that in the graph."""
    task, home, _ = exported
    path = tmp_path / "m"
    shutil.copytree(home / "saved", path)
    file = path / "assets.extra" / "gpt2_keras.json"
    contents = json.loads(file.read_text())
    parts = contents["task"].get("prompt", contents["task"])["parts"]
    next(part for part in parts if "Literal" in part)["Literal"]["text"] = "In short, the cat:"
    file.write_text(json.dumps(contents))
    message = rf"[1-4] of 4 answers of the task '{task.name}' differ from those in Python"
    with pytest.raises(CertificateError, match=message):
        certify(model, path, text=CORPUS[0]).write()


def test_usual_tasks_have_names(model, tmp_path):
    assert resolve_task(model, "translate") == translation_task(model)
    assert resolve_task(model, "chat") == chat_task(model)
    assert resolve_task(model, None) is None
    with pytest.raises(
        ValueError, match=r"^task='classify' is unknown\. .* A classification needs"
    ):
        model.export(tmp_path / "n", task="classify")
    with pytest.raises(TypeError, match=r"^task=3 is an int\. Use a TextTask, a Classification"):
        model.export(tmp_path / "n", task=3)
    with pytest.raises(TypeError, match=r"^task='summarize' is no option of format='litertlm'\."):
        model.export(tmp_path / "n.litertlm", format="litertlm", task="summarize")


def test_warm_up_requests_ask_the_task(exported):
    task, home, _ = exported
    file = home / "saved" / "assets.extra" / "tf_serving_warmup_requests"
    named = {}
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        named[request.model_spec.signature_name] = set(request.inputs)
    assert named[task.name] == {field.name for field in prompt_of(task).fields}
    assert named[task.name] == named["serving_default"]
    assert named["generate"] >= {"text"}
