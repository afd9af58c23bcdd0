"""Last words and choices, compared with sums of log-probabilities of the NumPy GPT-2."""

import json
import math

import keras
import numpy as np
import pytest

from gpt2_keras.evaluation import last_word, multiple_choice
from tests import reference
from tests.models import text_model, weights_of
from tests.test_model import ROUNDING

# A log-probability is a logit less the logarithm of a sum of exponentials: two values of the size
# of the logits, each off by ROUNDING of the largest.
LARGEST_LOGIT = 200.0
LOG_PROB_ERROR = 2 * ROUNDING * LARGEST_LOGIT
LONG = "the cat sat on the mat, and the dog sat on the log. it's 42 o'clock! the mat"
SPLITS = [
    ("the cat sat on the", " mat"),
    ("and the dog sat on\nthe", " log."),
    ("42 ", " o'clock!"),
    (LONG, " dog"),  # longer than the context
    *((word, " the") for word in ("cat", "dog", "mat", "log")),
    *((word, " them") for word in ("cat", "dog", "mat", "log")),  # more than one token
]
PASSAGES = [before + after for before, after in SPLITS]
PASSAGES[2] += "\n"
QUESTIONS = [
    {"context": "the cat sat", "choices": ["on the mat", "on", "!"], "label": 1},
    {"context": "the dog ", "choices": ["sat", " and the dog sat on the log"], "label": 0},
    {"context": "", "choices": ["the cat", "é"], "label": 1},
]


@pytest.fixture(scope="module")
def model():
    """A model that predicts " the" with near certainty in some contexts and never in others."""
    model = text_model(context_length=16)
    (the,) = model.tokenizer.encode(" the")
    table = keras.ops.convert_to_numpy(model.token_embedding.embeddings).copy()
    table[the] *= 30
    model.token_embedding.embeddings.assign(table)
    return model


@pytest.fixture(scope="module")
def log_probs_of(model):
    """The log-probability and rank of each token of a continuation, from one NumPy pass."""
    weights, encode = weights_of(model), model.tokenizer.encode

    def compute(before, after):
        ids = [model.tokenizer.end_token_id, *encode(before), *encode(after)]
        count = len(encode(after))
        logits = reference.logits(weights, np.array([ids[:-1][-16:]]), model.config.num_heads)[0]
        rows, targets = logits[-count:], ids[-count:]
        log_probs = np.log(np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True))
        own = rows[np.arange(count), targets]
        ranks = (rows > own[:, None]).sum(axis=1)
        assert np.abs(logits).max() <= LARGEST_LOGIT
        # No rounding makes the token the most likely one, or another one.
        others = np.where(rows == own[:, None], -np.inf, rows)
        assert (np.abs(others.max(axis=1) - own) > LOG_PROB_ERROR).all()
        return log_probs[np.arange(count), targets], ranks

    return compute


def test_last_words_are_scored_token_by_token(model, log_probs_of):
    assert len(model.tokenizer.encode(LONG)) > 16
    expected = [log_probs_of(*split) for split in SPLITS]
    result = last_word(model, PASSAGES, batch_size=2)
    assert result.num_examples == len(PASSAGES) == 12
    total = sum(log_probs.sum() for log_probs, _ in expected)
    error = LOG_PROB_ERROR * sum(len(log_probs) for log_probs, _ in expected)
    assert result.log_prob == pytest.approx(total, abs=error)
    assert result.num_correct == sum((ranks == 0).all() for _, ranks in expected)
    assert 0 < result.num_correct < 5
    assert any(ranks[0] == 0 < ranks.max() for _, ranks in expected)
    assert result.perplexity == math.exp(-result.log_prob / 12)


@pytest.mark.parametrize("batch_size", [1, None])
def test_choices_are_compared_as_a_whole_per_token_and_per_byte(model, log_probs_of, batch_size):
    correct = np.zeros(3, int)
    joined = [
        [("the cat sat", " on the mat"), ("the cat sat", " on"), ("the cat sat", " !")],
        [("the dog", " sat"), ("the dog", "  and the dog sat on the log")],
        [("", "the cat"), ("", "é")],
    ]
    for question, pairs in zip(QUESTIONS, joined, strict=True):
        scores = [log_probs_of(*pair)[0] for pair in pairs]
        sizes = [len(choice.encode()) for choice in question["choices"]]
        for index, weights in enumerate(([1] * 3, list(map(len, scores)), sizes)):
            totals = [s.sum() / weight for s, weight in zip(scores, weights, strict=False)]
            correct[index] += int(np.argmax(totals)) == question["label"]
            best, second = sorted(totals)[:-3:-1]
            assert best - second > LOG_PROB_ERROR * max(map(len, scores))
    result = multiple_choice(model, QUESTIONS, batch_size=batch_size)
    found = (result.num_correct, result.num_correct_by_token, result.num_correct_by_byte)
    assert found == tuple(correct)
    assert len(set(found)) > 1  # the normalisations differ on these questions


def test_an_answer_is_right_if_its_label_is_the_most_likely_choice(model, log_probs_of):
    choices = [" mat", " dog", " log"]
    most_likely = int(np.argmax([log_probs_of("the cat", c)[0].sum() for c in choices]))
    for label in range(3):
        question = {"context": "the cat", "choices": choices, "label": label}
        assert multiple_choice(model, [question]).accuracy == (label == most_likely)


def test_files_are_json_lines(model, tmp_path):
    (tmp_path / "last.jsonl").write_text(
        "\n".join(json.dumps({"text": text, "more": 1}) for text in PASSAGES) + "\n\n"
    )
    (tmp_path / "choice.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    from_file = last_word(model, tmp_path / "last.jsonl")
    assert from_file.name == str(tmp_path / "last.jsonl")
    assert from_file.log_prob == pytest.approx(last_word(model, PASSAGES).log_prob)
    found = multiple_choice(model, tmp_path / "choice.jsonl").to_dict()
    assert found["num_examples"] == 3
    assert found["accuracy"] == multiple_choice(model, QUESTIONS).accuracy


def test_standard_errors_are_those_of_a_proportion(model):
    result = multiple_choice(model, QUESTIONS)
    expected = math.sqrt(result.accuracy * (1 - result.accuracy) / 2)
    assert result.accuracy_standard_error == pytest.approx(expected)
    assert last_word(model, PASSAGES[:1]).to_dict()["accuracy_standard_error"] is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("\n\n", r"file\.jsonl has no example\. Name a file with one JSON object per line\.$"),
        (
            '{"text": "a b"}\n{"text": 3}',
            r"line 2 has no valid `text`: \{'text': 3\}\. An .*`text` \(a string\)\. Correct",
        ),
        ('["a b"]', r"line 1 has no valid `text`: \['a b'\]\. .* Correct `text`, or remove"),
        ('{"text": "a b"', r"line 1 is not JSON: Expecting .* one JSON object per line; correct"),
        ('{"text": "a"}', r"line 1 has fewer than two words: 'a'\. Leave it out\.$"),
        (
            '{"text": "a ' + "zq" * 20 + '"}',
            r"line 1 has 41 tokens to score, more than context_length=16\.",
        ),
    ],
)
def test_damaged_passages_are_errors(model, tmp_path, lines, message):
    (tmp_path / "file.jsonl").write_text(lines)
    with pytest.raises(ValueError, match=message):
        last_word(model, tmp_path / "file.jsonl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 3}, r"^question 0: label=3 is greater than 2\. Use an integer from 0 to 2\."),
        (
            {"label": -1},
            r"^question 0 has no valid `label`: .*`label` \(the index of a choice, from",
        ),
        ({"label": True}, r"^question 0 has no valid `label`: .* Correct `label`, or remove"),
        ({"choices": ["one"]}, r"`choices` \(a list of at least two strings, none empty\)"),
        ({"choices": ["one", ""]}, r"^question 0 has no valid `choices`: "),
        ({"context": None}, r"^question 0 has no valid `context`: "),
    ],
)
def test_damaged_questions_are_errors(model, changes, message):
    with pytest.raises(ValueError, match=message):
        multiple_choice(model, [{**QUESTIONS[0], **changes}])


def test_no_examples_and_wrong_types_are_errors(model):
    for task in (last_word, multiple_choice):
        with pytest.raises(ValueError, match=r"^examples is empty\. Use at least one "):
            task(model, [])
        with pytest.raises(
            TypeError, match=r"^batch_size=True is a bool\. Use an integer of at le"
        ):
            task(model, PASSAGES if task is last_word else QUESTIONS, batch_size=True)
    with pytest.raises(TypeError, match=r"^examples\[1\]=3 is an int\. Use a str\."):
        last_word(model, ["a b", 3])
