"""Protocols: each gives what its definition gives, and two differ where they should."""

import math
import re

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.evaluation import (
    TASKS,
    detokenize,
    evaluate_task,
    find_protocol,
    task_evaluation,
)
from gpt2_keras.evaluation.detokenizers import DETOKENIZERS
from gpt2_keras.evaluation.protocols import APPLICATION_PROTOCOLS
from gpt2_keras.evaluation.published import FIGURES, published_figures
from tests import reference
from tests.evaluation.data_sets import FILES, LAMBADA, WIKITEXT, write
from tests.evaluation.test_tasks import LOG_PROB_ERROR
from tests.models import text_model, weights_of

CONTEXT = 16
CASES = [(task, name) for task, protocols in TASKS.items() for name in protocols]


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=CONTEXT)


@pytest.fixture(scope="module")
def uniform_model():
    """Every token has the probability 1 / vocab_size, so that a loss counts tokens."""
    model = text_model(context_length=256)
    for variable in model.weights:
        variable.assign(np.zeros(variable.shape))
    return model


@pytest.fixture(scope="module")
def log_probs_of(model):
    """The log-probabilities of the last tokens of ids, from one NumPy pass."""
    weights = weights_of(model)

    def compute(ids, count):
        ids = ids[-(CONTEXT + 1) :]
        inputs = np.array([ids[:-1]])
        logits = reference.logits(weights, inputs, model.config.num_heads)[0][-count:]
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return log_probs[np.arange(count), ids[-count:]], logits

    return compute


@pytest.mark.parametrize(("task", "name"), CASES)
def test_every_protocol_measures_its_task(model, uniform_model, tmp_path, task, name):
    result = evaluate_task(uniform_model, task, write(tmp_path, task), protocol=name)
    assert result.protocol is TASKS[task][name]
    assert result.num_examples >= 1
    assert result.num_tokens >= 1
    if "token_perplexity" in result.measures:
        vocab_size = uniform_model.config.vocab_size
        assert result.measures["token_perplexity"] == pytest.approx(vocab_size, rel=1e-5)
    assert all(math.isfinite(value) for value in result.measures.values())
    dictionary = result.to_dict()
    assert dictionary["measures"] == result.measures
    assert dictionary["protocol"]["name"] == name
    assert dictionary["rules"] == result.protocol.to_text()


# The number of units, counted by hand in the texts of `data_sets.py`.
UNITS = {
    ("wikitext-103", "paper"): len(WIKITEXT.split()),
    # Two pages: white space before the first title is none. White space at an edge of a page
    # counts as a word more.
    ("wikitext-2", "lm-eval"): (15 + 2) + (7 + 2),
    ("wikitext-2", "megatron"): len(WIKITEXT.strip().split(" ")) - 1,
    ("ptb", "paper"): 11,
    ("ptb", "megatron"): 11,
    ("enwik8", "paper"): 22 + 28,
    ("text8", "paper"): 23 * 60,
    ("1bw", "paper"): 4 + 9,
}


@pytest.mark.parametrize(("task", "name"), UNITS)
def test_the_denominator_is_the_unit_of_the_protocol(uniform_model, tmp_path, task, name):
    result = evaluate_task(uniform_model, task, write(tmp_path, task), protocol=name)
    loss = result.num_tokens * math.log(uniform_model.config.vocab_size)
    if result.protocol.denominator in ("byte", "character"):
        units = loss / math.log(2) / result.measures["bits"]
    else:
        units = loss / math.log(result.measures["perplexity"])
    assert units == pytest.approx(UNITS[task, name], rel=1e-4)


def test_the_paper_counts_wikitext_2_per_token(model, tmp_path):
    measures = evaluate_task(model, "wikitext-2", write(tmp_path, "wikitext-2")).measures
    assert measures["perplexity"] == measures["token_perplexity"]


def test_lambada_is_scored_token_by_token_as_each_protocol_says(model, log_probs_of, tmp_path):
    encode, end = model.tokenizer.encode, model.tokenizer.end_token_id
    file = write(tmp_path, "lambada-openai")
    rows = {"paper": [], "lm-eval": [], "megatron": []}
    for text in LAMBADA:
        before, word = text.rsplit(" ", 1)
        whole = encode(text)
        rows["paper"].append(([end, *whole], 1))
        rows["megatron"].append((whole, 1))
        rows["lm-eval"].append((whole, len(whole) - len(encode(before))))
        assert whole == [*encode(before), *encode(f" {word}")]
    perplexities = set()
    for name, cases in rows.items():
        found = [log_probs_of(*case)[0] for case in cases]
        result = evaluate_task(model, "lambada-openai", file, protocol=name)
        assert result.num_tokens == sum(count for _, count in cases)
        loss = -sum(each.sum() for each in found) / len(cases)
        error = LOG_PROB_ERROR * result.num_tokens
        assert math.log(result.measures["perplexity"]) == pytest.approx(loss, abs=error)
        perplexities.add(result.measures["perplexity"])
    assert len(perplexities) == 3  # the rules matter


def test_stop_words_are_no_answers_of_the_paper(tmp_path):
    model = text_model(context_length=CONTEXT)
    (the,) = model.tokenizer.encode(" the")
    (word,) = model.tokenizer.encode("!")  # as a last token
    table = keras.ops.convert_to_numpy(model.token_embedding.embeddings).copy()
    # In every context " the" is the most likely token, and "!" the next one.
    norm = model.decoder.final_norm
    norm.gamma.assign(np.zeros(table.shape[1]))
    norm.beta.assign(np.eye(table.shape[1])[0])
    table[:, 0] = 0
    table[the, 0], table[word, 0] = 9, 5
    model.token_embedding.embeddings.assign(table)
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "it sat on!"}\n{"text": "it sat on the"}\n')
    measures = evaluate_task(model, "lambada-openai", file).measures
    assert measures["accuracy"] == 0.5  # " the" is right once
    assert measures["accuracy_without_stop_words"] == 0.5  # and "!" where " the" is left out
    file.write_text('{"text": "it sat on!"}\n')
    measures = evaluate_task(model, "lambada-openai", file).measures
    assert (measures["accuracy"], measures["accuracy_without_stop_words"]) == (0, 1)


def test_megatron_scores_no_first_token_and_the_others_do(model, tmp_path):
    file = write(tmp_path, "wikitext-2")
    counts = {
        name: evaluate_task(model, "wikitext-2", file, protocol=name).num_tokens
        for name in TASKS["wikitext-2"]
    }
    assert counts["megatron"] == len(model.tokenizer.encode(detokenized(WIKITEXT))) - 1
    assert counts["lm-eval"] == sum(
        len(model.tokenizer.encode(detokenized(page))) for page in wiki_pages()
    )


def test_windows_are_those_of_the_protocols(tmp_path, monkeypatch):
    """What is read before the first scored token of each window, in tokens of the file."""
    model, read = text_model(context_length=64, num_layers=1), []
    score = task_evaluation.score_spans

    def recorded(model, spans, **options):
        read.append([(len(span.inputs), len(span.targets)) for span in spans])
        return score(model, spans, **options)

    monkeypatch.setattr(task_evaluation, "score_spans", recorded)
    file = tmp_path / "ptb.test.txt"
    file.write_text("the cat 's mat " * 60)
    count = len(model.tokenizer.encode(detokenize("the cat 's mat " * 60, "ptb-megatron")))
    evaluate_task(model, "ptb", file, protocol="megatron")
    full = (count - 1 - 64) // 32  # the first window scores all of its targets, the others 32
    rest = count - 1 - 64 - 32 * full
    assert read[0][: full + 1] == [(64, 64), *[(64, 32)] * full]
    assert [scored for _, scored in read[0][full + 1 :]] == [rest] * bool(rest)
    page = tmp_path / "wiki.test.tokens"
    page.write_text(" = The cat = \n " + "the cat sat . " * 60)
    evaluate_task(model, "wikitext-2", page, protocol="lm-eval")
    assert {length for length, _ in read[1]} == {64}  # the last one, too
    assert 0 < read[1][-1][1] < 64
    evaluate_task(model, "wikitext-2", page, protocol="paper")
    assert read[2][-1][0] == read[2][-1][1] < 64


def detokenized(text):
    return detokenize(text, "wikitext-harness")


def wiki_pages():
    start = WIKITEXT.index(" = The cat"), WIKITEXT.index(" = The dog")
    return [WIKITEXT[start[0] : start[1] - 1], WIKITEXT[start[1] :]]


def test_names_are_checked():
    with pytest.raises(
        ValueError, match=r"^task='lambada' is unknown\. Use one of 'lambada-openai'"
    ):
        find_protocol("lambada")
    with pytest.raises(ValueError, match=r"^protocol='gpt-3' is unknown\. Use one of 'paper', "):
        find_protocol("ptb", "gpt-3")
    message = (
        r"^protocol='llm\.c' says nothing of task='lambada-openai', which has 'paper' and "
        r"'lm-eval' and 'megatron'\. Use one of these\.$"
    )
    with pytest.raises(ValueError, match=message):
        find_protocol("lambada-openai", "llm.c")
    assert find_protocol("hellaswag").name == "lm-eval"
    assert find_protocol("wikitext-103").name == "paper"


def test_the_protocols_name_detokenizers_and_sources():
    for task, name in CASES:
        protocol = TASKS[task][name]
        assert protocol.detokenizer in DETOKENIZERS
        assert protocol.source
        assert protocol.start in ("always", "if empty", "never")
    assert set(FILES) == set(TASKS)


def test_published_figures_are_of_the_size_of_the_model():
    named = {(each.task, each.protocol) for each in FIGURES}
    assert named <= {*CASES, *((task, "paper") for task in APPLICATION_PROTOCOLS)}
    table = [each for each in FIGURES if (each.task, each.protocol) in CASES]
    table = [each for each in table if each.protocol == "paper"]
    assert len(table) == 4 * 10
    of = {
        name: published_figures("wikitext-103", "paper", getattr(GPT2Config, name)())[0].value
        for name in ("gpt2", "gpt2_medium", "gpt2_large", "gpt2_xl")
    }
    assert of == {"gpt2": 37.50, "gpt2_medium": 26.37, "gpt2_large": 22.05, "gpt2_xl": 17.48}
    small = GPT2Config(vocab_size=9, context_length=4, num_layers=1, num_heads=1, hidden_dim=4)
    assert [each.size for each in published_figures("hellaswag", "llm.c", small)] == ["gpt2"] * 2
    assert published_figures("ptb", "megatron", small) == []


def test_the_rules_are_put_in_words():
    assert find_protocol("wikitext-2", "lm-eval").to_text() == (
        "scored: text; disjoint windows, the last one full; per page; unit: split word; "
        "<|endoftext|> before: always; detokenizer: wikitext-harness"
    )
    text = find_protocol("hellaswag", "lm-eval").to_text()
    assert re.search("encoded together; .*; also divided by: character, byte$", text)
    assert find_protocol("lambada-openai").to_text().endswith("without stop words")
