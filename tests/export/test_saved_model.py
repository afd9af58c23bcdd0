import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from gpt2_keras.export import clients, saved_model
from gpt2_keras.generation.sampler import Sampler
from gpt2_keras.verification.saved_model import METADATA_FILE
from tests.export.tolerances import log_prob_error
from tests.models import text_model

PROMPTS = ["the cat", "it's 42, the dog sat on the log", "é𝄞\n\n x", "a\ufffd\x00b"]
NEW_TOKENS = 10
DEFAULTS = {
    "max_new_tokens": tf.constant([NEW_TOKENS]),
    "temperature": tf.constant([0.0]),
    "top_k": tf.constant([0]),
    "top_p": tf.constant([1.0]),
    "repetition_penalty": tf.constant([1.0]),
    "seed": tf.constant([0]),
}
OUTPUTS = {"text", "text_bytes", "token_ids", "num_tokens", "finish_reason"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, its SavedModel, and the loaded default signature."""
    model = text_model(context_length=64)
    path = tmp_path_factory.mktemp("serving") / "model"
    model.export(path, max_new_tokens=NEW_TOKENS, warmup=False, certificate=False)
    loaded = tf.saved_model.load(str(path))
    return model, path, loaded.signatures["serving_default"]


@pytest.fixture(scope="module")
def signatures(exported):
    return tf.saved_model.load(str(exported[1])).signatures


@pytest.fixture(scope="module")
def permissive(exported, tmp_path_factory):
    """The signatures of an export that accepts every text."""
    path = exported[0].export(
        tmp_path_factory.mktemp("permissive") / "model",
        max_new_tokens=NEW_TOKENS,
        on_invalid_text="accept",
        certificate=False,
    )
    return tf.saved_model.load(str(path)).signatures


def ask_generate(signatures, **inputs):
    """Asks `generate`, with its defaults for what is left out, as TF Serving does."""
    function = signatures["generate"]
    given = {name: tf.constant(value) for name, value in inputs.items()}
    return numpy_of(function(**({name: DEFAULTS[name] for name in DEFAULTS} | given)))


def numpy_of(answers):
    return {name: value.numpy() for name, value in answers.items()}


def test_the_text_is_that_of_generate(exported):
    model, _, ask = exported
    answers = ask(text=tf.constant(PROMPTS))
    texts = [text.decode() for text in answers["text"].numpy()]
    assert texts == model.generate(PROMPTS, max_new_tokens=NEW_TOKENS)


def test_a_row_gets_the_answer_it_gets_alone(exported):
    _, _, ask = exported
    together = ask(text=tf.constant(PROMPTS))["text_bytes"].numpy().tolist()
    assert together == [ask(text=tf.constant([p]))["text_bytes"].numpy()[0] for p in PROMPTS]


def test_the_ids_and_bytes_are_those_of_the_new_tokens(exported):
    model, _, ask = exported
    answers = numpy_of(ask(text=tf.constant(PROMPTS)))
    assert set(answers) == OUTPUTS
    for row, prompt in enumerate(PROMPTS):
        ids = answers["token_ids"][row, : answers["num_tokens"][row]].tolist()
        new_bytes = model.tokenizer.decode_bytes(ids)
        assert answers["text_bytes"][row] == prompt.encode() + new_bytes
        assert answers["text"][row].decode() == prompt + new_bytes.decode(errors="replace")


def test_every_input_and_output_has_a_name_and_a_batch(signatures):
    assert {name: set(f.structured_outputs) for name, f in signatures.items()} == {
        "serving_default": OUTPUTS,
        "generate": OUTPUTS,
        "score": {"token_ids", "log_probs", "num_tokens"},
        "score_tokens": {"log_probs", "ranks"},
        "generate_tokens": {"token_ids", "num_tokens", "finish_reason"},
        "next_token": {"tokens", "token_bytes", "ids", "probs"},
        "tokenize": {"token_ids", "num_tokens"},
        "detokenize": {"text", "text_bytes"},
    }
    for function in signatures.values():
        specs = function.structured_input_signature[1].values()
        assert all(spec.shape[0] is None for spec in specs)


def test_generate_equals_the_model_with_the_parameters_of_each_row(exported, signatures):
    model = exported[0]
    rows = [
        {"max_new_tokens": 3, "temperature": 0.0},
        {"max_new_tokens": 12, "temperature": 1.3, "seed": 5},
        {"max_new_tokens": 7, "temperature": 0.9, "top_k": 4, "seed": -1},
        {"max_new_tokens": 1, "temperature": 2.0, "top_p": 0.5, "seed": 2**31 - 1},
    ]
    columns = {
        name: [row.get(name, default.numpy()[0]) for row in rows]
        for name, default in DEFAULTS.items()
    }
    answers = ask_generate(signatures, text=PROMPTS, **columns)
    for row, prompt in enumerate(PROMPTS):
        alone = model.generate_details(prompt, **({"seed": 0} | rows[row]))
        count = answers["num_tokens"][row]
        assert answers["token_ids"][row, :count].tolist() == alone.token_ids
        assert answers["text"][row].decode() == prompt + alone.text
        assert answers["finish_reason"][row].decode() == alone.finish_reason


def test_tokens_are_continued_as_their_text_is(exported, signatures):
    model, _, ask = exported
    encode = model.tokenizer.encode
    rows = [encode(prompt) for prompt in PROMPTS]
    count = np.array([len(row) for row in rows], "int32")
    # What stands in the padding does not matter.
    ids = np.array([row + [7] * (max(count) - len(row)) for row in rows], "int32")
    found = signatures["generate_tokens"](
        token_ids=tf.constant(ids), num_tokens=tf.constant(count), **DEFAULTS
    )
    expected = ask(text=tf.constant(PROMPTS))
    for name in ("token_ids", "num_tokens", "finish_reason"):
        assert found[name].numpy().tolist() == expected[name].numpy().tolist()


def test_tokens_have_the_log_probabilities_and_ranks_of_the_logits(exported, signatures):
    model = exported[0]
    rows = [[3, 1, 4, 1, 5], [9, 2], [6]]
    ids = np.array([row + [7] * (5 - len(row)) for row in rows], "int32")
    count = np.array([len(row) for row in rows], "int32")
    answer = numpy_of(
        signatures["score_tokens"](token_ids=tf.constant(ids), num_tokens=tf.constant(count))
    )
    for row, tokens in enumerate(rows):
        logits = keras.ops.convert_to_numpy(model(np.array([tokens])))[0]
        targets = np.array(tokens[1:], "int32")
        own = logits[np.arange(len(targets)), targets]
        log_probs = own - np.log(np.exp(logits[:-1]).sum(axis=1))
        np.testing.assert_allclose(answer["log_probs"][row, : len(targets)], log_probs, atol=1e-4)
        ranks = (logits[:-1] > own[:, None]).sum(axis=1)
        assert answer["ranks"][row, : len(targets)].tolist() == ranks.tolist()
        assert not answer["log_probs"][row, len(targets) :].any()
        assert not answer["ranks"][row, len(targets) :].any()


def test_the_small_file_has_the_shape_and_the_end_tokens(exported):
    model, path, _ = exported
    metadata = json.loads((path / METADATA_FILE).read_text())
    assert metadata["config"] == model.config.to_dict()
    assert metadata["end_token_ids"] == list(model.end_token_ids)
    assert metadata["start_token_id"] == model.tokenizer.end_token_id
    assert metadata["weights"] == "float32"


def test_generate_penalizes_repeated_tokens(exported, signatures):
    answers = ask_generate(signatures, text=PROMPTS[:1], repetition_penalty=[1.8])
    sampler = Sampler(0.0, repetition_penalty=1.8)
    expected = exported[0].generate(PROMPTS[0], sampler=sampler, max_new_tokens=NEW_TOKENS)
    assert answers["text"][0].decode() == expected


def test_one_value_is_for_all_rows(exported, signatures):
    greedy = numpy_of(exported[2](text=tf.constant(PROMPTS)))
    assert ask_generate(signatures, text=PROMPTS)["text"].tolist() == greedy["text"].tolist()
    few = ask_generate(signatures, text=PROMPTS, max_new_tokens=[2])
    assert few["num_tokens"].tolist() == np.minimum(greedy["num_tokens"], 2).tolist()


def test_the_signature_has_defaults_for_parameters_that_are_left_out(exported):
    contents = saved_model_pb2.SavedModel.FromString((exported[1] / "saved_model.pb").read_bytes())
    written = contents.meta_graphs[0].signature_def["generate"].defaults
    assert {name: tf.make_ndarray(value).tolist() for name, value in written.items()} == {
        name: value.numpy().tolist() for name, value in DEFAULTS.items()
    }


def test_score_gives_the_log_probabilities_of_the_model(exported, signatures):
    model = exported[0]
    answers = numpy_of(signatures["score"](text=tf.constant(PROMPTS)))
    for row, score in enumerate(model.score(PROMPTS)):
        count = answers["num_tokens"][row]
        assert answers["token_ids"][row, :count].tolist() == score.token_ids
        log_probs = answers["log_probs"][row, :count]
        error = log_prob_error(model, score.token_ids)
        np.testing.assert_allclose(log_probs, score.log_probs, rtol=0, atol=error)


def test_next_token_gives_the_candidates_of_the_model(exported, signatures):
    model = exported[0]
    answers = numpy_of(signatures["next_token"](text=tf.constant(PROMPTS)))
    for row, prompt in enumerate(PROMPTS):
        expected = model.next_tokens(prompt)
        assert answers["ids"][row].tolist() == [candidate.id for candidate in expected]
        assert [token.decode() for token in answers["tokens"][row]] == [c.text for c in expected]
        assert answers["token_bytes"][row].tolist() == [
            model.tokenizer.decode_bytes([candidate.id]) for candidate in expected
        ]
        probabilities = [candidate.probability for candidate in expected]
        error = log_prob_error(model, model.tokenizer.encode(prompt))
        np.testing.assert_allclose(answers["probs"][row], probabilities, rtol=error)


def test_tokenize_and_detokenize_are_inverse_on_any_bytes(exported, signatures):
    texts = [b"the cat", b"", b"\xff\x00\xe2\x82", "é𝄞".encode()]
    answers = signatures["tokenize"](text=tf.constant(texts))
    for row, text in enumerate(texts[:1] + texts[3:]):
        row = row and 3
        ids = answers["token_ids"].numpy()[row, : answers["num_tokens"].numpy()[row]].tolist()
        assert ids == exported[0].tokenizer.encode(text.decode())
    back = signatures["detokenize"](**answers)
    assert back["text_bytes"].numpy().tolist() == texts
    assert back["text"].numpy()[2].decode() == texts[2].decode(errors="replace")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"text": ["the", ""]},
            r"\[text is empty in rows \[1\]\. Send at least one byte per text\.\]",
        ),
        (
            {"text": [b"the", b"\xff"]},
            r"\[text is not valid UTF-8 in rows \[1\]\. Encode it in UTF-8\.\]",
        ),
        (
            {"text": ["zq" * 60]},
            r"\[texts of \[120\] tokens do not fit into the context of 64 tokens: their new tokens "
            r"leave room for \[54\]\. Shorten",
        ),
        (
            {"max_new_tokens": [0]},
            r"\[max_new_tokens=\[0\] is less than 1\. Use integers of at least 1\.\]",
        ),
        ({"max_new_tokens": [-3]}, r"\[max_new_tokens=\[-3\] is less than 1\."),
        ({"max_new_tokens": [64]}, r"\[2\] tokens do not fit .* room for \[0\]\."),
        (
            {"temperature": [float("nan")]},
            r"\[temperature=\[nan\] is negative or not finite\. Use finite numbers of",
        ),
        ({"temperature": [-0.5]}, r"\[temperature=\[-0\.5\] is negative or not finite\."),
        (
            {"top_k": [-1]},
            r"\[top_k=\[-1\] is less than 0\. Use integers of at least 0; 0 keeps all\.\]",
        ),
        (
            {"top_p": [0.0]},
            r"\[top_p=\[0\] is out of range\. Use numbers above 0 and at most 1\.\]",
        ),
        ({"top_p": [float("nan")]}, r"\[top_p=\[nan\] is out of range\."),
        ({"repetition_penalty": [0.0]}, r"\[repetition_penalty=\[0\] is out of range\. Use finite"),
        (
            {"seed": [1, 2, 3]},
            r"\[seed has 3 values for 1 texts\. Send one value, or one per text\.\]",
        ),
    ],
)
def test_an_invalid_request_is_an_error_and_the_next_one_is_answered(signatures, inputs, message):
    good = {"text": ["the cat"]}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask_generate(signatures, **(good | inputs))
    assert ask_generate(signatures, **good)["text"][0].startswith(b"the cat")


@pytest.mark.parametrize("counts", [[], [3], [3, 3], [3, 3, 3, 3]])
def test_detokenize_wants_a_number_for_each_row(signatures, counts):
    ids = tf.constant([[5, 6, 7]] * 3)
    message = rf"num_tokens has {len(counts)} values for 3 rows of token_ids\. Send one for each"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signatures["detokenize"](token_ids=ids, num_tokens=tf.constant(counts, tf.int32))
    answer = signatures["detokenize"](token_ids=ids, num_tokens=tf.constant([3, 2, 0]))
    assert [len(text) for text in answer["text_bytes"].numpy()] == [3, 2, 0]


@pytest.mark.parametrize("name", ["score", "next_token", "serving_default"])
@pytest.mark.parametrize("text", [b"", b"\xff", b"zq" * 60])
def test_every_signature_of_the_model_fails_on_invalid_texts(signatures, name, text):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"assertion failed: \[.*text"):
        signatures[name](text=tf.constant([text]))


def test_invalid_texts_are_answered_with_accept(exported, permissive):
    model = exported[0]
    texts = [b"", b"\xff the \xe2\x82", b"zq" * 30, b"zq" * 60]
    answers = numpy_of(permissive["serving_default"](text=tf.constant(texts)))
    assert answers["text"][0].decode() == model.generate("", max_new_tokens=NEW_TOKENS)
    assert answers["text_bytes"][1].startswith(texts[1])
    assert answers["text"][1].decode().startswith("\ufffd the \ufffd")
    longer = model.generate_details("zq" * 30, max_new_tokens=4)
    assert answers["finish_reason"].tolist()[2:] == [b"context", b"context"]
    assert answers["num_tokens"].tolist()[2:] == [4, 0]
    assert answers["token_ids"][2, :4].tolist() == longer.token_ids
    assert answers["text_bytes"][3] == texts[3]
    assert permissive["score"](text=tf.constant(texts))["num_tokens"].numpy()[3] == 64
    assert permissive["next_token"](text=tf.constant(texts))["ids"].shape == (4, 10)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        # Some twenty times the rounding of a weight: 2^-11 and 2^-8 of it, and 1/254 of the
        # largest of its row.
        pytest.param("float16", 0.01, marks=pytest.mark.slow),
        pytest.param("bfloat16", 0.05, marks=pytest.mark.slow),
        ("int8", 0.1),
    ],
)
def test_weights_can_be_stored_smaller(exported, tmp_path, dtype, tolerance):
    model, path, _ = exported
    small = model.export(tmp_path / dtype, dtype=dtype, warmup=False, certificate=False)
    (bytes_before,), (bytes_after,) = (
        [file.stat().st_size for file in directory.glob("variables/*.data*")]
        for directory in (path, small)
    )
    assert bytes_after < bytes_before * (0.62 if dtype != "int8" else 0.5)
    answers = numpy_of(
        tf.saved_model.load(str(small)).signatures["score"](text=tf.constant(PROMPTS))
    )
    for row, score in enumerate(model.score(PROMPTS)):
        count = answers["num_tokens"][row]
        difference = np.abs(answers["log_probs"][row, :count] - score.log_probs).max()
        assert 0 < difference < tolerance


def test_a_batch_without_rows_has_an_answer_without_rows(exported):
    answers = exported[2](text=tf.constant([], tf.string))
    assert answers["text"].shape == (0,)


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
unwanted = {"gpt2_keras", "tensorflow_text", "keras_hub", "keras_nlp", "tokenizers"}
print(json.dumps(sorted(unwanted & set(sys.modules))))
"""


def test_a_process_with_tensorflow_alone_runs_it_with_core_ops_alone(exported):
    model, path, _ = exported
    program = clients.__path__[0] + "/ask_saved_model.py"
    command = [sys.executable, "-I", "-c", BARE_PROCESS, program, str(path), *PROMPTS[:3]]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    ops, unknown_ops, answers, imported = map(json.loads, result.stdout.splitlines()[-4:])
    print("ops of the SavedModel:", *ops)
    assert {"MatMul", "StringJoin", "StatelessWhile"} <= set(ops)
    assert unknown_ops == []
    assert not any("Hash" in op or "PyFunc" in op or "Xla" in op for op in ops)
    assert answers == model.generate(PROMPTS[:3], max_new_tokens=NEW_TOKENS)
    assert imported == []


def test_there_is_one_small_file_beside_graph_and_variables(exported):
    files = sorted(
        str(path.relative_to(exported[1])) for path in exported[1].rglob("*") if path.is_file()
    )
    assert files == [
        "assets.extra/gpt2_keras.json",
        "fingerprint.pb",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch, error):
    def fail(module, path, signatures):
        raise error

    monkeypatch.setattr(saved_model.tf.saved_model, "save", fail)
    with pytest.raises(type(error)):
        text_model().export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
