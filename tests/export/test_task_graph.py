"""The graph of a task beside Python, piece by piece and without an export."""

import dataclasses
import random

import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras.applications import (
    answer_task,
    chat_task,
    classification_task,
    run_classification,
    summary_task,
    translation_task,
)
from gpt2_keras.applications.post_processing import strip
from gpt2_keras.applications.text_task import fill
from gpt2_keras.export.label_graph import LabelScorer
from gpt2_keras.export.task_graph import TaskPrompt, answer_span, task_processors
from gpt2_keras.generation.streaming import TextDeltas
from tests.models import CORPUS, text_model

NEW = 10
CONTEXT = 96
TURNS = [f"User: the cat {i}\n\nAssistant: it's {i * i}." for i in range(12)]
TEXTS = ["the cat", " The dog. \n", "", "é𝄞", CORPUS[0], CORPUS[0] * 3, "User:\n\nUser: a"]


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=CONTEXT, num_layers=1)


def tasks_of(model):
    return [
        summary_task(model, max_new_tokens=NEW),
        translation_task(model, examples=[("a", "b")], max_new_tokens=NEW),
        answer_task(model, max_new_tokens=NEW),
        answer_task(model, history=[("who?", "it.")], max_new_tokens=NEW),
        chat_task(model, max_new_tokens=NEW),
        chat_task(model, system="Be kind.", max_new_tokens=NEW),
    ]


def rows_of(task):
    """Combinations of texts of its fields."""
    choices = random.Random(0)  # noqa: S311 -- texts that repeat
    histories = ["", *("\n\n".join(TURNS[:n]) for n in (1, 2, 3, 5, 12))]
    for _ in range(40):
        yield {
            field.name: choices.choice(histories if field.crop == "turns" else TEXTS)
            for field in task.fields
        }


@pytest.mark.parametrize("index", range(6))
def test_prompts_are_those_of_python(model, index):
    task, compared, cropped_ones = tasks_of(model)[index], 0, 0
    prompt, tokenizer = TaskPrompt(model, task, CONTEXT), model.tokenizer
    for row in rows_of(task):
        try:
            expected, cropped = fill(model, task, row)
        except ValueError:
            continue  # empty or too long, which an export checks by itself
        fields = {}
        for field in task.fields:
            text = strip(row[field.name])
            fields[field.name] = tf.constant(
                tokenizer.encode(field.before + text if text else ""), tf.int32
            )
        ids, left_out, too_many = prompt(fields)
        assert ids.numpy().tolist() == list(expected.token_ids), row
        assert bool(left_out.numpy()) == bool(cropped)
        assert too_many.numpy() == 0
        compared += 1
        cropped_ones += bool(cropped)
    assert compared > 10
    assert cropped_ones > 2


def test_a_document_that_is_cropped_to_nothing_keeps_its_separator(model):
    task, encode = answer_task(model, max_new_tokens=NEW), model.tokenizer.encode
    document = "the cat"
    template = len(encode("\n\nQ:")) + len(encode("\nA:"))
    question = "!" * (CONTEXT - NEW - template)
    while len(encode(f" {question}")) > CONTEXT - NEW - template:
        question = question[1:]
    expected, cropped = fill(model, task, {"document": document, "question": question})
    assert cropped == document
    assert expected.text.startswith("\n\nQ: !")
    fields = {"document": encode(document), "question": encode(f" {question}")}
    ids, left_out, too_many = TaskPrompt(model, task, CONTEXT)(
        {name: tf.constant(each, tf.int32) for name, each in fields.items()}
    )
    assert ids.numpy().tolist() == list(expected.token_ids)
    assert (left_out.numpy(), too_many.numpy()) == (len(fields["document"]), 0)


def test_a_prompt_that_cannot_fit_keeps_its_end(model):
    task = answer_task(model, max_new_tokens=NEW)
    ids = tf.constant(model.tokenizer.encode(" " + CORPUS[0] * 5), tf.int32)
    found, _, too_many = TaskPrompt(model, task, CONTEXT)(
        {"document": tf.zeros([0], tf.int32), "question": ids}
    )
    assert len(found) == CONTEXT - NEW
    assert too_many.numpy() > 0
    assert model.tokenizer.decode(found.numpy().tolist()).endswith("\nA:")


FRAGMENTS = ["One", " two", ".", "!", '"', ")", " ", "\n", "\nUser:", "\nUs", "é", "?", "3.5", "\t"]


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("num_sentences", [0, 1, 2, 3])
def test_answers_are_cut_as_in_python(model, index, num_sentences):
    task = dataclasses.replace(tasks_of(model)[index], num_sentences=num_sentences)
    choices = random.Random(index)  # noqa: S311 -- texts that repeat
    texts = ["", " ", "\n", *("".join(choices.choices(FRAGMENTS, k=9)) for _ in range(150))]
    size = max(len(text.encode()) for text in texts)
    codes = np.full((len(texts), size), 7, "int32")  # what stands after a text does not matter
    for row, text in enumerate(texts):
        codes[row, : len(text.encode())] = list(text.encode())
    sizes = tf.constant([len(text.encode()) for text in texts])
    start, end = (each.numpy() for each in answer_span(tf.constant(codes), sizes, task))
    for row, text in enumerate(texts):
        deltas = TextDeltas(model.tokenizer, task.stop)
        generated = deltas.feed(model.tokenizer.encode(text)) + deltas.finish()
        found = bytes(codes[row, start[row] : end[row]].tolist()).decode()
        assert found == task.finish(generated), text


def test_a_batch_of_empty_texts_is_cut_to_nothing(model):
    task = summary_task(model)
    start, end = answer_span(tf.zeros([2, 0], tf.int32), tf.zeros([2], tf.int32), task)
    assert start.numpy().tolist() == end.numpy().tolist() == [0, 0]


def test_tokens_of_white_space_that_hold_a_stop_string_end_a_text_early(model):
    task = translation_task(model)
    stops = task_processors(model, task).stop_ids.numpy().tolist()
    texts = [model.tokenizer.decode([one]) for one in stops]
    assert stops[0] == model.tokenizer.end_token_id
    assert "\n" in texts
    assert all("\n" in text and not text.strip() for text in texts[1:])
    assert task_processors(model, summary_task(model)).stop_ids.numpy().tolist() == stops[:1]


@pytest.mark.parametrize("labels", [["sat", "the dog", "sat on"], ["!", "a"]])
def test_labels_have_the_probabilities_of_python(model, labels):
    task = classification_task(model, labels, examples=[("a", labels[0])])
    scorer = LabelScorer(model, task, CONTEXT)
    for text in ("the cat", "", "é𝄞", CORPUS[0] * 3):
        stripped = strip(text)
        ids = model.tokenizer.encode(f" {stripped}" if stripped else "")
        prompt, _, _ = scorer.prompt({"text": tf.constant(ids, tf.int32)})
        expected = run_classification(model, task, text)
        np.testing.assert_allclose(
            scorer.probabilities(prompt), list(expected.probabilities.values()), atol=1e-5
        )
