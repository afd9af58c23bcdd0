"""Penalties and logits processors, against their definitions in plain Python."""

import math

import numpy as np
import pytest

from gpt2_keras.generation import LogitsProcessors, Sampler
from gpt2_keras.generation.logits_processors import (
    NO_TOKEN,
    History,
    process_logits,
    processor_tensors,
)
from gpt2_keras.generation.sampler import sampling_tensors
from tests.models import text_model

VOCAB = 12
# Two rows; the second begins with padding. The last three columns are not written yet.
ROWS = [[3, 1, 4, 1, 5, 1, 4], [2, 7, 1, 8]]
FIRST_NEW = 4


def history():
    ids = np.full((2, 10), NO_TOKEN, "int32")
    ids[0, :7] = ROWS[0]
    ids[1, 3:7] = ROWS[1]
    return History(ids, np.int32(FIRST_NEW), np.int32(7))


def processed(sampler=None, **fields):
    logits = np.random.default_rng(0).normal(size=(2, VOCAB)).astype("float32")
    numbers = sampling_tensors(sampler or Sampler(), np.zeros(2, "int32"))
    processors = processor_tensors(VOCAB, fields.pop("stop_ids", [0]), **fields)
    return logits, np.asarray(process_logits(logits, history(), numbers, processors))


def new_tokens(row):
    return ROWS[0][4:] if row == 0 else ROWS[1][1:]


def test_nothing_asked_changes_nothing():
    before, after = processed()
    np.testing.assert_array_equal(after, before)


def test_the_repetition_penalty_is_that_of_its_paper():
    before, after = processed(Sampler(repetition_penalty=1.7))
    for row in range(2):
        for token in range(VOCAB):
            value = before[row, token]
            expected = value
            if token in ROWS[row]:
                expected = value * 1.7 if value < 0 else value / 1.7
            assert after[row, token] == pytest.approx(expected, rel=1e-6)


def test_presence_and_frequency_count_the_new_text_alone():
    before, after = processed(Sampler(presence_penalty=0.5, frequency_penalty=0.25))
    for row in range(2):
        for token in range(VOCAB):
            count = new_tokens(row).count(token)
            expected = before[row, token] - 0.25 * count - 0.5 * (count > 0)
            assert after[row, token] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_no_sequence_of_the_size_comes_twice(size):
    before, after = processed(Sampler(no_repeat_ngram_size=size))
    for row, ids in enumerate(ROWS):
        there = {tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)}
        ending = ids[len(ids) - size + 1 :]
        for token in range(VOCAB):
            if (*ending, token) in there:
                assert after[row, token] == -np.inf
            else:
                assert after[row, token] == before[row, token]
    assert (after == -np.inf).any() == (size < 4)


def test_the_last_token_of_a_bad_word_is_banned():
    # Row 0 ends with 1, 4 and row 1 with 1, 8.
    words = [[9], [4, 2], [1, 4, 6], [8, 3], [5, 5], [7, 1, 8, 2], [3, 2, 7, 1, 8, 10]]
    before, after = processed(bad_words=words)
    banned = [{9, 2, 6}, {9, 3, 2}]
    for row in range(2):
        got = {token for token in range(VOCAB) if after[row, token] == -np.inf}
        assert got == banned[row]
    free = after != -np.inf
    np.testing.assert_array_equal(after[free], before[free])


def test_a_bias_is_added_and_minus_infinity_bans():
    before, after = processed(logit_bias={3: 2.5, 5: -math.inf})
    np.testing.assert_allclose(after[:, 3], before[:, 3] + 2.5, rtol=1e-6)
    assert (after[:, 5] == -np.inf).all()
    np.testing.assert_array_equal(np.delete(after, [3, 5], 1), np.delete(before, [3, 5], 1))


def test_no_stop_id_comes_before_the_minimum():
    # Three new tokens are there.
    for minimum, banned in ((3, set()), (4, {0, 6})):
        _, after = processed(stop_ids=[0, 6], min_new_tokens=minimum)
        assert {token for token in range(VOCAB) if after[0, token] == -np.inf} == banned


def test_a_forced_token_is_the_only_one():
    _, after = processed(forced_ids=[9, 9, 9, 7])
    assert after.argmax(axis=1).tolist() == [7, 7]
    assert (np.delete(after, 7, axis=1) == -np.inf).all()
    before, after = processed(forced_ids=[9, 9, 9])
    np.testing.assert_array_equal(after, before)


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


def test_the_processors_hold_for_whole_texts(model):
    def generate(prompt, **fields):
        settings = {"max_new_tokens": 24, "temperature": 1.0, "seed": 3, "strip_prompt": True}
        processors = LogitsProcessors(**fields)
        return model.generate(prompt, logits_processors=processors, **settings)

    free = generate("the cat")
    assert generate("the cat", forced_prefix=" sat on").startswith(" sat on")
    letter = next(char for char in free if char.isascii() and char.isalnum())
    tokens = model.tokenizer.encode(generate("the cat", bad_words=[letter]))
    assert model.tokenizer.encode(letter)[0] not in tokens
    only = {token: -math.inf for token in range(model.config.vocab_size) if token not in (65, 66)}
    assert set(generate("the", logit_bias=only)) <= set("bc")


def test_a_stop_id_ends_the_text_and_the_minimum_holds_it_back(model):
    settings = {"max_new_tokens": 24, "temperature": 1.0, "seed": 3}
    free = model.generate_details("the", **settings)
    stop = free.token_ids[5]
    first = free.token_ids.index(stop)
    settings["stop_token_ids"] = [stop]
    ended = model.generate_details("the", **settings)
    assert ended.token_ids == free.token_ids[:first]
    assert ended.finish_reason == "end"
    minimum = LogitsProcessors(min_new_tokens=10)
    held = model.generate_details("the", logits_processors=minimum, **settings)
    assert len(held.token_ids) >= 10


def test_a_bias_of_an_unknown_id_is_an_error(model):
    with pytest.raises(ValueError, match=r"^Token id 9999 is not in the vocabulary"):
        model.generate("a", logits_processors=LogitsProcessors(logit_bias={9999: 1.0}))
