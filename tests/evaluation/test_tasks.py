"""Last words and choices, against sums of log-probabilities by the NumPy GPT-2."""

import json
import math

import keras
import numpy as np
import pytest

from gpt2_keras.evaluation import last_word, multiple_choice
from tests import reference
from tests.models import text_model, weights_of

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
    """A model that is sure of " the", in some contexts that it comes and in others that not."""
    model = text_model(context_length=16)
    (the,) = model.tokenizer.encode(" the")
    table = keras.ops.convert_to_numpy(model.token_embedding.embeddings).copy()
    table[the] *= 30
    model.token_embedding.embeddings.assign(table)
    return model


@pytest.fixture(scope="module")
def log_probs_of(model):
    """Log-probability and rank of each token of a continuation, from one pass in NumPy."""
    weights, encode = weights_of(model), model.tokenizer.encode

    def compute(before, after):
        ids = [model.tokenizer.end_token_id, *encode(before), *encode(after)]
        count = len(encode(after))
        logits = reference.logits(weights, np.array([ids[:-1][-16:]]), model.config.num_heads)[0]
        rows, targets = logits[-count:], ids[-count:]
        shares = np.log(np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True))
        own = rows[np.arange(count), targets]
        return shares[np.arange(count), targets], (rows > own[:, None]).sum(axis=1)

    return compute


def test_last_words_are_scored_token_by_token(model, log_probs_of):
    assert len(model.tokenizer.encode(LONG)) > 16
    expected = [log_probs_of(*split) for split in SPLITS]
    result = last_word(model, PASSAGES, batch_size=2)
    assert result.num_examples == len(PASSAGES) == 12
    total = sum(log_probs.sum() for log_probs, _ in expected)
    assert result.log_prob == pytest.approx(total, rel=1e-5)
    assert result.num_correct == sum((ranks == 0).all() for _, ranks in expected)
    assert 0 < result.num_correct < 5
    assert any(ranks[0] == 0 < ranks.max() for _, ranks in expected)
    assert result.perplexity == pytest.approx(math.exp(-total / 12), rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, None])
def test_choices_are_compared_whole_by_token_and_by_byte(model, log_probs_of, batch_size):
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
    result = multiple_choice(model, QUESTIONS, batch_size=batch_size)
    found = (result.num_correct, result.num_correct_by_token, result.num_correct_by_byte)
    assert found == tuple(correct)
    assert len(set(found)) > 1  # the normalisations differ on these questions


def test_the_right_label_is_the_likeliest_choice(model, log_probs_of):
    choices = [" mat", " dog", " log"]
    likeliest = int(np.argmax([log_probs_of("the cat", c)[0].sum() for c in choices]))
    for label in range(3):
        question = {"context": "the cat", "choices": choices, "label": label}
        assert multiple_choice(model, [question]).accuracy == (label == likeliest)


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


def test_standard_errors_are_those_of_a_share(model):
    result = multiple_choice(model, QUESTIONS)
    share = result.accuracy
    assert result.accuracy_standard_error == pytest.approx(math.sqrt(share * (1 - share) / 2))
    assert last_word(model, PASSAGES[:1]).to_dict()["accuracy_standard_error"] is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("\n\n", r"at least one example\. Received: .*file\.jsonl, with none"),
        ('{"text": "a b"}\n{"text": 3}', r"`text` \(a string\)\. Received: .*, line 2: .*: 3}"),
        ('["a b"]', r"line 1: \['a b'\]\. Mend `text`"),
        ('{"text": "a b"', r"JSON object a line\. Received: .*line 1: Expecting"),
        ('{"text": "a"}', r"at least two words\. Received: .*line 1: 'a'"),
        ('{"text": "a ' + "zq" * 20 + '"}', r"line 1: ' zq.*with 41 tokens, context_length=16"),
    ],
)
def test_damaged_passages_are_refused(model, tmp_path, lines, message):
    (tmp_path / "file.jsonl").write_text(lines)
    with pytest.raises(ValueError, match=message):
        last_word(model, tmp_path / "file.jsonl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 3}, r"Received: question 0: label=3 of 3 choices"),
        ({"label": -1}, r"`label` \(the number of a choice, from 0\)\. Received: question 0"),
        ({"label": True}, r"Mend `label` there"),
        ({"choices": ["one"]}, r"`choices` \(a list of at least two strings, none empty\)"),
        ({"choices": ["one", ""]}, r"Mend `choices` there"),
        ({"context": None}, r"Mend `context` there"),
    ],
)
def test_damaged_questions_are_refused(model, changes, message):
    with pytest.raises(ValueError, match=message):
        multiple_choice(model, [{**QUESTIONS[0], **changes}])


def test_no_examples_are_refused(model):
    for task in (last_word, multiple_choice):
        with pytest.raises(ValueError, match=r"at least one example\. Received: an empty list"):
            task(model, [])
