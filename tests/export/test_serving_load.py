"""A served model under load: merged batches, many threads at once, and flat memory."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tensorflow as tf

from gpt2_keras.export.text_graph import TextModel
from tests.export.serving_double import input_specs, loaded_signatures, served_model

THREADS = 32
# Resident memory that the calls after the warm-up may add: less than a kilobyte per call in the
# long proof. What is left are the allocator's own ups and downs.
GROWTH_LIMIT_MEGABYTES = 10
# The columns of `generate` for one row each: texts of several lengths, sampled and greedy.
REQUESTS = [
    {"text": "the cat", "max_new_tokens": 2},
    {"text": "it's 42, the dog sat on the log", "max_new_tokens": 9, "temperature": 1.1},
    {"text": "é𝄞", "max_new_tokens": 5, "temperature": 0.7, "top_k": 5, "seed": 3},
    {"text": "the mat and the log", "max_new_tokens": 12, "repetition_penalty": 1.5},
    {"text": "o'clock! ", "max_new_tokens": 1, "temperature": 2.0, "top_p": 0.6, "seed": -9},
]
DEFAULTS = {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0, "seed": 0}
INPUTS = ("text", "max_new_tokens", *DEFAULTS)
OUTPUTS = ("text_bytes", "token_ids", "num_tokens", "finish_reason")


@pytest.fixture(scope="module")
def generate():
    return loaded_signatures(served_model()[1])["generate"]


def columns(rows):
    """Returns the inputs of `generate` for rows, in the order of INPUTS."""
    return [tf.constant([(DEFAULTS | row)[name] for row in rows]) for name in INPUTS]


def answers(outputs):
    """Returns one answer per row, without the padding that its neighbours made."""
    raw, ids, counts, reasons = (outputs[name].numpy() for name in OUTPUTS)
    rows = zip(raw, ids, counts, reasons, strict=True)
    return [(text, row[:count].tolist(), why) for text, row, count, why in rows]


def ask(generate, rows):
    return answers(generate(**dict(zip(INPUTS, columns(rows), strict=True))))


@pytest.fixture(scope="module")
def alone(generate):
    """The answer to each request by itself."""
    return [ask(generate, [row])[0] for row in REQUESTS]


def batched(function, input_names, output_names, *, max_batch_size=8):
    """Puts TensorFlow's batching op, which servers use, before a signature.

    Returns a function of the input columns that gives the outputs by name, and in
    `batch_size` of how many rows the batch was that each row was computed in.
    """
    specs = [input_specs(function)[name] for name in input_names]

    @tf.nondifferentiable_batch_function(
        num_batch_threads=1,
        max_batch_size=max_batch_size,
        batch_timeout_micros=500_000,
        autograph=False,
    )
    def merged(*inputs):
        outputs = function(**dict(zip(input_names, inputs, strict=True)))
        size = tf.shape(inputs[0])[0]
        return [outputs[name] for name in output_names] + [tf.fill([size], size)]

    traced = tf.function(merged, input_signature=specs, autograph=False)
    traced.get_concrete_function()

    def asked(*inputs):
        return dict(zip((*output_names, "batch_size"), traced(*inputs), strict=True))

    return asked


def at_once(tasks):
    """Runs tasks in a thread each, begun together; returns their results or exceptions."""
    begin = threading.Barrier(len(tasks))

    def run(task):
        begin.wait()
        try:
            return task()
        except tf.errors.InvalidArgumentError as error:
            return error

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


def test_rows_merged_with_those_of_other_requests_get_the_answers_they_get_alone(generate, alone):
    asked = batched(generate, INPUTS, OUTPUTS)
    requests = [[0, 1], [2], [3, 4, 0], [1, 3]]  # 8 rows of 4 requests
    merged = at_once(
        [lambda rows=rows: asked(*columns([REQUESTS[row] for row in rows])) for rows in requests]
    )
    sizes = {int(size) for outputs in merged for size in outputs["batch_size"]}
    assert max(sizes) > max(map(len, requests)), "no two requests were merged"
    for rows, outputs in zip(requests, merged, strict=True):
        assert answers(outputs) == [alone[row] for row in rows]


def test_an_invalid_row_fails_its_batch_unless_invalid_texts_are_accepted():
    model, path = served_model()
    texts = [tf.constant(["the cat"]), tf.constant([""])]

    def ask_together(function):
        asked = batched(function, ("text",), ("tokens",), max_batch_size=2)
        return at_once([lambda text=text: asked(text) for text in texts])

    failed = ask_together(loaded_signatures(path)["next_token"])
    assert all("text is empty in rows [" in str(error) for error in failed)

    spec = tf.TensorSpec([None], tf.string, name="text")
    permissive = tf.function(
        lambda *, text: TextModel(model, on_invalid_text="accept").next_token(text), autograph=False
    )
    good, empty = ask_together(permissive.get_concrete_function(text=spec))
    assert good["batch_size"].numpy().tolist() == [2]
    for outputs, text in ((good, "the cat"), (empty, "")):
        expected = [candidate.text.encode() for candidate in model.next_tokens(text)]
        assert outputs["tokens"].numpy()[0].tolist() == expected


def hammer(generate, alone, num_calls):
    """Asks from many threads; returns how many calls had an answer that is not their own."""
    numbers = itertools.count()

    def work():
        wrong = 0
        while (number := next(numbers)) < num_calls:
            rows = [number % len(REQUESTS), (number * 3 + 1) % len(REQUESTS)][: 1 + number % 2]
            got = ask(generate, [REQUESTS[row] for row in rows])
            wrong += got != [alone[row] for row in rows]
        return wrong

    return sum(at_once([work] * THREADS))


def resident_megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@pytest.mark.parametrize(
    ("warm_up", "num_calls"), [(200, 400), pytest.param(1000, 10_000, marks=pytest.mark.slow)]
)
def test_many_threads_get_their_own_answers_and_memory_stays_flat(
    generate, alone, warm_up, num_calls
):
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc/self/statm, which Linux has")
    assert hammer(generate, alone, warm_up) == 0
    before = resident_megabytes()
    assert hammer(generate, alone, num_calls) == 0
    growth = resident_megabytes() - before
    print(f"{num_calls} calls of {THREADS} threads: {growth:.1f} MB more after {before:.0f} MB")
    assert growth < GROWTH_LIMIT_MEGABYTES
