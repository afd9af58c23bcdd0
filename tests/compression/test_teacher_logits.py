"""A teacher's stored logits: what they hold, how training reads them, what does not fit."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras.compression import store_teacher_logits
from gpt2_keras.compression import teacher_logits as module
from gpt2_keras.data import TokenShards, make_dataset, prepare
from gpt2_keras.data.keras_batches import KerasBatches
from gpt2_keras.data.teacher_logits import FOLDER, TeacherLogits
from tests.models import CORPUS, text_model

TOP_K, TEMPERATURE = 5, 3.0


@pytest.fixture
def shards(tmp_path):
    (tmp_path / "a.txt").write_text("".join(CORPUS[:3]), encoding="utf-8")
    return prepare([tmp_path / "a.txt"], text_model().tokenizer, tmp_path / "shards")


def store(shards, teacher=None, **options):
    options = {"top_k": TOP_K, "temperature": TEMPERATURE, **options}
    return store_teacher_logits(shards, teacher or text_model(), **options)


def expected(teacher, ids, position):
    """The probabilities of the largest and of all others, at a position of the corpus."""
    context = teacher.config.context_length
    if position < context:
        start = 0
    else:  # windows of the context, each half of it after the one before; the last ends the text
        half = context // 2
        start = min((position - context) // half * half + half, len(ids) - context)
    logits = np.array(teacher(ids[None, start : position + 1]))[0, -1].astype("float64")
    probs = np.exp((logits - logits.max()) / TEMPERATURE)
    probs /= probs.sum()
    order = np.argsort(-logits, kind="stable")[:TOP_K]
    return order, np.append(probs[order], 1 - probs[order].sum())


def test_each_token_has_the_teachers_probabilities_of_the_next(shards):
    teacher, seen = text_model(), []
    found = store(shards, teacher, on_progress=lambda *progress: seen.append(progress))
    ids = np.asarray(shards[:], np.int32)
    assert len(found) == len(shards) == len(ids)
    assert seen[-1] == (len(ids), len(ids))
    tokens, logits = found[:]
    assert (tokens.shape, logits.shape) == ((len(ids), TOP_K), (len(ids), TOP_K + 1))
    probs = np.exp(logits.astype("float64") / TEMPERATURE)
    probs /= probs.sum(axis=1, keepdims=True)
    for position in [0, 1, 31, 32, 47, 48, 49, 63, 64, len(ids) - 2, len(ids) - 1]:
        order, exact = expected(teacher, ids, position)
        np.testing.assert_array_equal(tokens[position], order)
        # float16 has 11 bits: a logit of up to 8 below the largest is off by 4e-3.
        np.testing.assert_allclose(probs[position], exact, rtol=5e-3, atol=1e-4)


def test_the_whole_vocabulary_leaves_no_others(shards):
    _, logits = store(shards, top_k=280)[:4]
    assert (logits[:, -1] < -100).all()
    assert np.isfinite(logits.astype("float32")).all()


def test_what_was_interrupted_is_continued(shards):
    whole = [each.copy() for each in store(shards)[:]]
    (shards.directory / FOLDER).rename(shards.directory / "moved")

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store(shards, on_progress=interrupt)
    unfinished = shards.directory / module.UNFINISHED
    with (unfinished / "logits.bin").open("ab") as file:
        file.write(b"abc")  # what was written last, in part
    seen = []
    found = store(shards, on_progress=lambda *progress: seen.append(progress[0]))
    assert seen[0] > 32  # not from the beginning
    assert not unfinished.exists()
    for one, other in zip(whole, found[:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_stored_again_they_are_only_opened(shards, monkeypatch):
    store(shards)
    monkeypatch.setattr(module, "_compute", None)
    assert len(store(shards)) == len(shards)


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_have_the_logits_of_their_tokens_with_and_without_tensorflow(
    shards, shuffle, monkeypatch
):
    logits = store(shards)
    tokens = np.asarray(shards[:])
    options = {"context_length": 8, "batch_size": 3, "shuffle": shuffle, "teacher_logits": logits}

    def check(batches):
        for inputs, targets in batches:
            for row, ids in enumerate(inputs["token_ids"]):
                starts = np.flatnonzero(
                    [np.array_equal(tokens[i : i + 8], ids) for i in range(len(tokens) - 8)]
                )
                assert any(
                    np.array_equal(logits[i : i + 8][0], inputs["teacher_ids"][row])
                    and np.array_equal(logits[i : i + 8][1], inputs["teacher_logits"][row])
                    and np.array_equal(tokens[i + 1 : i + 9], targets[row])
                    for i in starts
                )

    dataset = make_dataset(shards, **options).take(3)
    assert isinstance(dataset, tf.data.Dataset)
    check(dataset.as_numpy_iterator())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    without = make_dataset(shards, **options)
    assert isinstance(without, KerasBatches)
    first = next(iter(dataset.as_numpy_iterator()))
    same = next(without.as_numpy_iterator())
    np.testing.assert_array_equal(first[0]["teacher_logits"], same[0]["teacher_logits"])
    check(without.take(2).as_numpy_iterator())


def test_logits_that_do_not_fit(shards, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no teacher_logits/index\.json"):
        TeacherLogits.open(shards)
    with pytest.raises(TypeError, match="shards='a' is a str"):
        TeacherLogits.open("a")
    logits = store(shards)
    with pytest.raises(ValueError, match=r"has the logits of \d+ tokens, and there are 100000"):
        make_dataset(np.zeros(100_000, int), context_length=8, batch_size=2, teacher_logits=logits)
    with pytest.raises(TypeError, match=r"teacher_logits=3 is an int\. Use TeacherLogits"):
        make_dataset(shards, context_length=8, batch_size=2, teacher_logits=3)
    for changes in ({"teacher": text_model(seed=1)}, {"top_k": 4}, {"temperature": 2.0}):
        with pytest.raises(ValueError, match=r"logits of another teacher, of other token shards"):
            store(shards, **changes)
    other = prepare([tmp_path / "a.txt", tmp_path / "shards" / "index.json"],
                    text_model().tokenizer, tmp_path / "other")  # fmt: skip
    (shards.directory / FOLDER).rename(other.directory / FOLDER)
    with pytest.raises(ValueError, match="has the logits of other token shards, or of another"):
        TeacherLogits.open(other)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"top_k": 0}, ValueError, "top_k=0 is less than 1"),
        ({"top_k": 281}, ValueError, "top_k=281 is greater than 280"),
        ({"temperature": 0}, ValueError, "temperature=0 is not above 0"),
    ],
)
def test_numbers_out_of_their_range(shards, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        store(shards, **options)
    assert sorted(path.name for path in shards.directory.iterdir()) == [
        "index.json",
        "tokens-00000.bin",
    ]


def test_a_teacher_of_another_tokenizer(shards):
    teacher = text_model()
    teacher.tokenizer = (
        type(teacher.tokenizer)
        .train(["xyz" * 50], 257)
        .with_special_tokens([f"<{number}>" for number in range(23)])
    )
    with pytest.raises(ValueError, match="another tokenizer, with a vocabulary of 280, than the"):
        store(shards, teacher)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "logits.bin").write_bytes(b"abc"), "has 3 bytes, and index.json"),
        (lambda folder: (folder / "token_ids.bin").unlink(), "has 0 bytes, and index.json"),
        (lambda folder: (folder / "index.json").write_text("{}"), "is not an index of a teacher's"),
        (lambda folder: (folder / "index.json").write_text("["), "is not an index of a teacher's"),
        (lambda folder: _set(folder, version=2), "version 2, or lacks a field"),
        (lambda folder: _set(folder, top_k=0), "or lacks a field"),
        (lambda folder: _set(folder, temperature=-1.0), "or lacks a field"),
    ],
)
def test_damaged_files(shards, change, message):
    store(shards)
    change(shards.directory / FOLDER)
    with pytest.raises(ValueError, match=re.escape(message)):
        TeacherLogits.open(TokenShards.open(shards.directory))


def _set(folder, **fields):
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**index, **fields}))
