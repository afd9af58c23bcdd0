"""Classification by prompt beside probabilities of the NumPy GPT-2."""

import numpy as np
import pytest

from gpt2_keras.applications import classify
from tests import reference
from tests.evaluation.test_tasks import LOG_PROB_ERROR
from tests.models import CORPUS, text_model, weights_of

LABELS = ["sat", "sat on", "the dog", "!"]
CONTEXT = 64


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=CONTEXT)


@pytest.fixture(scope="module")
def log_prob_of(model):
    """The log-probability of a text after a prompt, from one NumPy pass."""
    weights, encode = weights_of(model), model.tokenizer.encode

    def compute(prompt, text):
        ids = encode(prompt) + encode(text)
        count = len(encode(text))
        logits = reference.logits(weights, np.array([ids[:-1]]), model.config.num_heads)[0]
        rows = logits[-count:]
        log_probs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
        return log_probs[np.arange(count), ids[-count:]].sum()

    return compute


def softmax(values):
    values = np.exp(np.array(values) - max(values))
    return values / values.sum()


def test_probabilities_are_those_of_the_labels_up_to_their_line_end(model, log_prob_of):
    found = classify(model, "the cat", LABELS, calibrate=False)
    prompt = "Text: the cat\nLabel:"
    assert found.prompt == prompt
    scores = [log_prob_of(prompt, f" {label}\n") for label in LABELS]
    expected = softmax(scores)
    np.testing.assert_allclose(list(found.probabilities.values()), expected, atol=1e-3)
    assert list(found.probabilities) == LABELS
    best = int(np.argmax(scores))
    assert found.label == str(found) == LABELS[best]
    assert found.log_prob == pytest.approx(scores[best], abs=10 * LOG_PROB_ERROR)


def test_calibration_divides_by_what_labels_have_without_content(model, log_prob_of):
    found = classify(model, "the cat", LABELS, text_name="Review", label_name="Mood")
    scores = [log_prob_of("Review: the cat\nMood:", f" {label}\n") for label in LABELS]
    free = np.mean(
        [
            softmax([log_prob_of(f"Review:{text}\nMood:", f" {label}\n") for label in LABELS])
            for text in (" N/A", " [MASK]", "")
        ],
        axis=0,
    )
    expected = softmax(scores) / free
    expected /= expected.sum()
    np.testing.assert_allclose(list(found.probabilities.values()), expected, atol=1e-3)
    plain = classify(model, "the cat", LABELS, text_name="Review", calibrate=False)
    assert plain.probabilities != found.probabilities


def test_a_text_without_content_has_no_favourite(model):
    found = classify(model, "N/A", LABELS[:2])
    # Of one of the three texts that are averaged over, the probabilities are near one another.
    plain = classify(model, "N/A", LABELS[:2], calibrate=False)
    spread = [abs(np.diff(list(each.probabilities.values()))[0]) for each in (found, plain)]
    assert spread[0] < spread[1]


def test_examples_stand_before_the_text(model):
    found = classify(model, "a", ["sat", "!"], examples=[("the cat", "sat"), ("no\n way", "!")])
    assert found.prompt == (
        "Text: the cat\nLabel: sat\n\nText: no way\nLabel: !\n\nText: a\nLabel:"
    )


def test_several_texts_and_long_ones(model):
    found = classify(model, ["the cat", CORPUS[0] * 5], LABELS[:2], calibrate=False)
    assert found[0] == classify(model, "the cat", LABELS[:2], calibrate=False)
    assert found[1].prompt.endswith("\nLabel:")
    assert found[1].prompt.startswith("Text: the cat sat")
    assert found[1].cropped.endswith("o'clock!")


@pytest.mark.parametrize(
    ("text", "labels", "options", "error", "message"),
    [
        ("a", [], {}, ValueError, r"^labels=\[\] has 0 of them, and there must be at least two"),
        ("a", ["x"], {}, ValueError, r"^labels=\['x'\] has 1 of them, and there must be at least"),
        ("a", ["x", "x "], {}, ValueError, r"^labels=\['x', 'x'\] has an empty name, or one twice"),
        ("a", ["x", " "], {}, ValueError, r"^labels=\['x', ''\] has an empty name"),
        ("a", ["x", "y\nz"], {}, ValueError, r"^labels has 'y\\nz', which has a line end\."),
        ("a", "xy", {}, TypeError, r"^labels='xy' is a str\. Use a list of names\."),
        ("a", ["x", 3], {}, TypeError, r"^labels\[1\]=3 is an int\."),
        (" ", ["x", "y"], {}, ValueError, r"^text\[0\]=' ' is empty\. Use a text with"),
        ("a", ["x", "y"], {"calibrate": 1}, TypeError, r"^calibrate=1 is an int\."),
        ("a", ["x", "y"], {"text_name": 3}, TypeError, r"^text_name or label_name=3 is an int"),
        (
            "a",
            ["x", "y"],
            {"examples": [("b", "z")]},
            ValueError,
            r"^examples have the label 'z', which is none of x, y\. Use these labels alone\.",
        ),
    ],
)
def test_bad_input_is_told(model, text, labels, options, error, message):
    with pytest.raises(error, match=message):
        classify(model, text, labels, **options)
