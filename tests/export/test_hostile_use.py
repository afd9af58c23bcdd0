"""Artifacts used hard: many threads, long and odd texts, several interpreters, any order."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from tests.export.device_files import small_file
from tests.models import text_model

NUM_THREADS = 16
MEGABYTE = 2**20
ODD = {
    "NULs": b"\x00" * 1000,
    "invalid UTF-8": b"a\xff\xfe\xc0\x80\xed\xa0\x80\xf5b" * 50,
    "half a character": "é€😀".encode()[:-1],
    "one character 100,000 times": b"a" * 100_000,
    "a space 100,000 times": b" " * 100_000,
    "an accent 100,000 times": "é".encode() * 100_000,
    "an apostrophe 100,000 times": b"'" * 100_000,
    "line ends": b"\r\n" * 5000,
}


def long_text(size=MEGABYTE):
    random = np.random.default_rng(0)
    words = ["the cat", " sat", "'ll", " 42", "\n\n", " é€", "  ", "😀", " o'clock!", "\x00"]
    text = "".join(random.choice(words) for _ in range(size // 3)).encode()
    assert len(text) > size
    return text


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A model and the signatures of its SavedModel, which accepts every text."""
    model = text_model(context_length=64)
    path = tmp_path_factory.mktemp("serving") / "model"
    model.export(path, max_new_tokens=8, on_invalid_text="accept", warmup=False, certificate=False)
    loaded = tf.saved_model.load(str(path))
    return model, loaded, loaded.signatures


def tokenized(signatures, *texts):
    answer = signatures["tokenize"](text=tf.constant(list(texts)))
    counts = answer["num_tokens"].numpy()
    return [row[:n].tolist() for row, n in zip(answer["token_ids"].numpy(), counts, strict=True)]


@pytest.mark.parametrize("case", ODD)
def test_odd_texts_come_back_from_a_saved_model(served, case):
    _, _, signatures = served
    answer = signatures["tokenize"](text=tf.constant([ODD[case], b"the cat"]))
    back = signatures["detokenize"](**answer)
    assert back["text_bytes"].numpy().tolist() == [ODD[case], b"the cat"]


@pytest.mark.parametrize("case", [case for case in ODD if case[:4] not in ("inva", "half")])
def test_odd_texts_have_the_ids_of_the_host(served, case):
    model, _, signatures = served
    assert tokenized(signatures, ODD[case]) == [model.tokenizer.encode(ODD[case].decode())]


def test_a_megabyte_has_the_ids_of_the_host(served):
    model, _, signatures = served
    assert tokenized(signatures, long_text()) == [model.tokenizer.encode(long_text().decode())]


@pytest.mark.parametrize(
    "name",
    [
        *("serving_default", "generate", "score", "next_token", "tokenize", "detokenize"),
        *("score_tokens", "generate_tokens"),
    ],
)
def test_no_rows_are_no_rows(served, name):
    _, _, signatures = served
    inputs = {
        key: tf.zeros([0] * spec.shape.rank, spec.dtype)
        if spec.dtype != tf.string
        else tf.constant([], tf.string)
        for key, spec in signatures[name].structured_input_signature[1].items()
    }
    if name.startswith("generate"):
        numbers = {"max_new_tokens": [3], "temperature": [0.0], "top_k": [0], "top_p": [1.0],
                   "repetition_penalty": [1.0], "seed": [0]}  # fmt: skip
        inputs |= {key: tf.constant(value) for key, value in numbers.items()}
    for value in signatures[name](**inputs).values():
        assert value.shape[0] == 0


def test_sixteen_threads_get_the_answers_that_one_gets(served):
    signatures = served[2]
    texts = [b"the cat", b"a\x00b", b"\xff\xfe", "é😀".encode(), b"the dog sat", long_text(60_000)]

    def ask(number):
        text = texts[number % len(texts)]
        if number % 3 == 0:
            return tokenized(signatures, text, b"the cat")
        if number % 3 == 1:
            return signatures["serving_default"](text=tf.constant([text[:20]]))[
                "token_ids"
            ].numpy().tolist()  # fmt: skip
        scored = signatures["score"](text=tf.constant([text[:20], b"the cat sat"]))
        return scored["token_ids"].numpy().tolist()

    numbers = list(range(96))
    alone = [ask(number) for number in numbers[:18]]
    begin = threading.Barrier(NUM_THREADS)

    def waited(number):
        if number < NUM_THREADS:
            begin.wait(60)
        return ask(number)

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        together = list(pool.map(waited, numbers))
    for number, answer in zip(numbers, together, strict=True):
        assert answer == alone[number % 18], number


# LiteRT.


@pytest.fixture(scope="module")
def device():
    """A model and a function that makes an interpreter of its file."""
    module = pytest.importorskip("ai_edge_litert.interpreter", reason="runs the .tflite file")
    model, path = small_file()
    return model, lambda: module.Interpreter(model_path=str(path))


def on_device(interpreter, name, **inputs):
    return interpreter.get_signature_runner(name)(**inputs)


def as_bytes(data):
    return np.frombuffer(data, np.uint8)


def generated(interpreter, text, count=4):
    return on_device(
        interpreter,
        "generate",
        text=as_bytes(text),
        max_new_tokens=np.array([count], np.int32),
        temperature=np.zeros(1, np.float32),
        top_k=np.zeros(1, np.int32),
        seed=np.zeros(1, np.int32),
    )


@pytest.mark.parametrize("case", [*ODD, "nothing"])
def test_odd_texts_come_back_from_a_device(device, case):
    model, make = device
    interpreter, data = make(), ODD.get(case, b"")
    ids = on_device(interpreter, "tokenize", text=as_bytes(data))["token_ids"]
    assert on_device(interpreter, "detokenize", token_ids=ids)["text_bytes"].tobytes() == data
    if case not in ("invalid UTF-8", "half a character"):
        assert ids.tolist() == model.tokenizer.encode(data.decode())


def test_a_long_text_has_the_ids_of_the_host_on_a_device(device):
    model, make = device
    ids = on_device(make(), "tokenize", text=as_bytes(long_text()))["token_ids"]
    assert ids.tolist() == model.tokenizer.encode(long_text().decode())


def test_answers_that_are_kept_do_not_change(device):
    _, make = device
    interpreter = make()
    first = generated(interpreter, b"the cat")
    ids = on_device(interpreter, "tokenize", text=as_bytes(b"the dog sat"))
    kept = [np.array(value) for value in (*first.values(), *ids.values())]
    for text in (b"it's 42", b"a" * 5000, b""):
        on_device(interpreter, "tokenize", text=as_bytes(text))
    generated(interpreter, b"the log", 3)
    for value, copy in zip((*first.values(), *ids.values()), kept, strict=True):
        np.testing.assert_array_equal(value, copy)


def test_interpreters_of_one_file_do_not_disturb_each_other(device):
    _, make = device
    alone = {text: generated(make(), text)["token_ids"].tolist() for text in (b"the cat", b"42")}
    one, other = make(), make()
    for _ in range(3):
        assert generated(one, b"the cat")["token_ids"].tolist() == alone[b"the cat"]
        assert generated(other, b"42")["token_ids"].tolist() == alone[b"42"]


def test_a_thread_for_each_interpreter_gets_the_answers_that_one_gets(device):
    _, make = device
    texts = [b"the cat", b"it's 42", b"\x00", b"the dog sat on the log"] * 4
    alone = [generated(make(), text)["token_ids"].tolist() for text in texts[:4]]

    def ask(text):
        interpreter = make()
        return [generated(interpreter, text)["token_ids"].tolist() for _ in range(2)]

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for number, answers in enumerate(pool.map(ask, texts)):
            assert answers == [alone[number % 4]] * 2


def test_a_wrong_request_leaves_the_interpreter_usable(device):
    _, make = device
    interpreter = make()
    expected = generated(interpreter, b"the cat")["token_ids"].tolist()
    with pytest.raises(ValueError, match="FLOAT32"):
        on_device(interpreter, "tokenize", text=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="tokenise"):
        on_device(interpreter, "tokenise", text=as_bytes(b"a"))
    assert generated(interpreter, b"the cat")["token_ids"].tolist() == expected
