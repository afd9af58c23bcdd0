"""Perplexity in sliding windows, compared with one NumPy forward pass per token."""

import json
import math
import re

import keras
import numpy as np
import pytest

from gpt2_keras.evaluation import evaluate
from gpt2_keras.evaluation.perplexity import windows
from tests import reference
from tests.models import text_model, weights_of
from tests.test_model import ROUNDING

# A log-probability is a logit less the logarithm of a sum of exponentials: two values of the size
# of the logits, each off by ROUNDING of the largest. So is a mean of log-probabilities.
LARGEST_LOGIT = 8.0
LOG_PROB_ERROR = 2 * ROUNDING * LARGEST_LOGIT
TEXT = "the cat sat on the mat,\nand the dog sat on the log. 42 o'clock! " * 3


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=16)


def oracle(model, text, first_inputs):
    """The log-probability and rank of each token, from one NumPy forward pass per token.

    `first_inputs` returns the index of the first input for the target at an index.
    """
    weights = weights_of(model)
    ids = [model.tokenizer.end_token_id, *model.tokenizer.encode(text)]
    log_probs, ranks = [], []
    for index in range(1, len(ids)):
        row = np.array([ids[first_inputs(index) : index]])
        logits = reference.logits(weights, row, model.config.num_heads)[0, -1]
        shifted = logits - logits.max()
        log_probs.append(shifted[ids[index]] - np.log(np.exp(shifted).sum()))
        assert np.abs(logits).max() <= LARGEST_LOGIT
        own = logits[ids[index]]
        ranks.append((logits > own).sum())
        # No rounding moves the token into the most likely one or five, or out of them.
        off = LOG_PROB_ERROR
        low, high = (logits > own + off).sum(), (logits > own - off).sum() - 1
        assert [low < 1, low < 5] == [high < 1, high < 5]
    return np.array(log_probs), np.array(ranks)


@pytest.mark.parametrize("stride", [1, 5, 16])
def test_each_token_has_the_score_of_a_separate_forward_pass(model, stride):
    context = model.config.context_length

    def first_inputs(index):  # of the first window that includes the target
        window = 0
        while window + context < index:
            window += stride
        return window

    log_probs, ranks = oracle(model, TEXT, first_inputs)
    result = evaluate(model, TEXT, stride=stride).total
    assert result.num_tokens == len(log_probs)
    assert result.loss == pytest.approx(-log_probs.mean(), abs=LOG_PROB_ERROR)
    assert result.perplexity == math.exp(result.loss)
    assert (result.num_top_1, result.num_top_5) == ((ranks < 1).sum(), (ranks < 5).sum())


def test_a_stride_of_the_context_gives_disjoint_windows(model):
    ids = np.array([model.tokenizer.end_token_id, *model.tokenizer.encode(TEXT)])
    total = 0.0
    for begin in range(0, len(ids) - 1, 16):
        row = ids[begin : begin + 17]
        losses = keras.losses.sparse_categorical_crossentropy(
            row[1:], model(row[None, :-1])[0], from_logits=True
        )
        total += float(np.sum(losses))
    error = LOG_PROB_ERROR * (len(ids) - 1)
    assert evaluate(model, TEXT, stride=16).total.log_prob == pytest.approx(-total, abs=error)


@pytest.mark.parametrize("count", [2, 4, 5, 17])
@pytest.mark.parametrize("stride", [1, 3, 4])
def test_windows_score_every_token_once_with_all_the_context_there_is(count, stride):
    spans = list(windows(range(count), context_length=4, stride=stride))
    assert np.concatenate([span.targets for span in spans]).tolist() == list(range(1, count))
    for span in spans:
        assert len(span.inputs) <= 4
        assert span.inputs[-1] + 1 == span.targets[-1]
        before_first = span.targets[0] - span.inputs[0]
        assert before_first >= min(span.targets[0], 4 - stride + 1)


def test_no_result_depends_on_the_batch_size(model):
    one = evaluate(model, [TEXT, "a cat", TEXT[:90]], stride=4, batch_size=1)
    many = evaluate(model, [TEXT, "a cat", TEXT[:90]], stride=4, batch_size=7)
    alone = evaluate(model, "a cat", stride=4).total
    for ours, theirs in zip(one.texts, many.texts, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, abs=LOG_PROB_ERROR)
        assert ours.num_top_1 == theirs.num_top_1
    assert many.texts[1].loss == pytest.approx(alone.loss, abs=LOG_PROB_ERROR)


def test_words_lines_and_bytes_are_those_of_the_original(model):
    text = "The dogs ' tails , été @-@ long . \n Second line ( here ) . \n"
    report = evaluate(model, text, detokenizer="wikitext")
    result = report.total
    detokenized = "The dogs' tails, été-long.\nSecond line (here).\n"
    assert result.num_tokens == len(model.tokenizer.encode(detokenized))
    assert (result.num_words, result.num_lines, result.num_bytes) == (15, 2, len(text.encode()))
    nats = -result.log_prob
    assert result.word_perplexity == pytest.approx(math.exp(nats / 15))
    assert result.word_and_line_perplexity == pytest.approx(math.exp(nats / 17))
    assert result.bits_per_byte == pytest.approx(nats / math.log(2) / len(text.encode()))
    assert nats == pytest.approx(-evaluate(model, detokenized).total.log_prob)


def test_several_texts_add_up(model, tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    report = evaluate(model, [tmp_path / "a.txt", TEXT[:90]])
    first, second = report.texts
    assert (first.name, second.name) == (str(tmp_path / "a.txt"), "text 1")
    assert report.total.num_tokens == first.num_tokens + second.num_tokens
    assert report.total.loss == pytest.approx(
        -(first.log_prob + second.log_prob) / report.total.num_tokens
    )
    errors = [text.standard_error * text.num_tokens for text in report.texts]
    total_error = report.total.standard_error * report.total.num_tokens
    assert total_error == pytest.approx(math.hypot(*errors))


def test_rows_of_a_file_are_documents(model, tmp_path):
    rows = ["the cat sat on", "a", "the dog\n"]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": row}) for row in rows))
    result = evaluate(model, tmp_path / "rows.jsonl").total
    scores = model.score(rows)
    assert result.num_tokens == sum(len(score.token_ids) for score in scores)
    error = LOG_PROB_ERROR * result.num_tokens
    assert result.log_prob == pytest.approx(sum(score.total for score in scores), abs=error)
    assert (result.num_words, result.num_lines, result.num_bytes) == (7, 1, 23)


def test_the_standard_error_is_that_of_blocks_of_a_window(model):
    log_probs, _ = oracle(model, TEXT, lambda index: (index - 1) // 16 * 16)
    blocks = [log_probs[start : start + 16] for start in range(0, len(log_probs), 16)]
    mean, count = log_probs.mean(), len(blocks)
    spread = sum((block.sum() - mean * len(block)) ** 2 for block in blocks)
    expected = math.sqrt(spread * count / (count - 1)) / len(log_probs)
    # A norm of sums over blocks of 16, divided by their number of tokens: no more off than one.
    found = evaluate(model, TEXT, stride=16).total.standard_error
    assert found == pytest.approx(expected, abs=LOG_PROB_ERROR)
    assert expected > 100 * LOG_PROB_ERROR


def test_the_report_states_its_protocol_and_is_json(model):
    report = evaluate(model, "a cat", stride=4)
    said = report.protocol.to_text()
    for part in ("windows of 16 tokens", "by 4", "13 to 16 tokens before", "<|endoftext|>", "none"):
        assert part in said
    written = json.loads(report.to_json())
    assert written["protocol"]["stride"] == 4
    assert written["texts"][0]["standard_error"] is None  # one window alone
    assert written["total"]["perplexity"] == report.total.perplexity


def test_progress_counts_tokens(model):
    seen = []
    evaluate(model, TEXT, stride=4, batch_size=3, on_progress=lambda *state: seen.append(state))
    count = len(model.tokenizer.encode(TEXT))
    assert seen[-1] == (count, count)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert len(seen) > 5


@pytest.mark.parametrize(
    ("text", "arguments", "error", "message"),
    [
        ("a", {}, ValueError, "text 0 has 1 tokens, fewer than two. Use a longer text"),
        ("", {}, ValueError, "text 0 has 0 tokens, fewer than two. Use a longer text"),
        ([], {}, ValueError, "texts is empty. Use at least one text."),
        (
            [b"abc"],
            {},
            TypeError,
            "texts[0]=b'abc' is a bytes. Use a path. A str is a text, a Path",
        ),
        (["ab", None], {}, TypeError, "texts[1] is None. Use a path. A str is a text, a Path"),
        (TEXT, {"stride": 0}, ValueError, "stride=0 is less than 1. Use an integer from 1 to 16."),
        (TEXT, {"stride": 17}, ValueError, "stride=17 is greater than 16. Use an integer from 1"),
        (TEXT, {"stride": True}, TypeError, "stride=True is a bool. Use an integer from 1 to 16."),
        (TEXT, {"batch_size": 0}, ValueError, "batch_size=0 is less than 1. Use an integer of at"),
        (TEXT, {"batch_size": 2.0}, TypeError, "batch_size=2.0 is a float. Use an integer of at"),
        (TEXT, {"detokenizer": "penn"}, ValueError, "detokenizer='penn' is unknown. Use one of"),
        (TEXT, {"detokenizer": None}, TypeError, "detokenizer is None. Use one of 'none', 'wiki"),
    ],
)
def test_an_argument_of_the_wrong_type_or_value_is_an_error(model, text, arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        evaluate(model, text, **arguments)


def test_a_file_that_is_no_text_is_an_error(model, tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(ValueError, match=r"latin\.txt.*0xe9"):
        evaluate(model, tmp_path / "latin.txt")
    (tmp_path / "empty.txt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.txt"):
        evaluate(model, tmp_path / "empty.txt")


def test_a_log_probability_that_is_not_finite_is_an_error():
    broken = text_model(context_length=16)
    broken.weights[0].assign(broken.weights[0] * np.nan)
    with pytest.raises(ValueError, match=r"^The model gives a token the log-probability nan, "):
        evaluate(broken, TEXT)
