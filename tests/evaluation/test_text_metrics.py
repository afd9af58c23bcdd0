"""Metrics of generated texts, by hand and beside their libraries."""

import sys

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from gpt2_keras.applications.post_processing import sentences
from gpt2_keras.evaluation import bleu, exact_match, f1, rouge
from gpt2_keras.evaluation.text_metrics import f1_leaving_one_out, normalize_answer


def test_answers_are_compared_as_squad_compares_them():
    assert normalize_answer("  The  Cat's, an a ") == "cats"
    assert exact_match("the cat.", ["A dog", "Cat"]) == 1
    assert exact_match("cats", ["cat"]) == 0
    # "black cat" and "cat sat mat": one word in common of two and of three.
    assert f1("the black cat", ["a cat sat, mat"]) == pytest.approx(2 * 1 / (2 + 3))
    assert f1("cat cat", ["cat"]) == pytest.approx(2 * 1 / (2 + 1))
    assert f1("", [""]) == f1("the", ["a"]) == 1
    assert f1("", ["cat"]) == 0


def test_coqa_leaves_one_right_answer_out():
    # Without the first: 0; without the second: 1; without the third: 1.
    assert f1_leaving_one_out("cat", ["cat", "dog", "log"]) == pytest.approx(2 / 3)
    assert f1_leaving_one_out("cat", ["cat"]) == 1


def test_rouge_has_line_ends_between_sentences():
    texts = ["The cat sat. It was black.", "no"]
    right = ["It was a black cat.\nThe cats were sitting.", "yes"]
    found = rouge(texts, right)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeLsum"], use_stemmer=True)
    lines = ("It was a black cat.\nThe cats were sitting.", "The cat sat.\nIt was black.")
    for name in found:
        first = scorer.score(*lines)[name].fmeasure
        assert found[name] == pytest.approx(first / 2)  # nothing in common in the second
    one_line = scorer.score(*(each.replace("\n", " ") for each in lines))["rougeLsum"].fmeasure
    assert 2 * found["rougeLsum"] > one_line


def test_bleu_is_sacrebleus():
    texts, right = ["the cat sat on the mat", "a dog"], ["the cat sat on a mat", "the dog"]
    assert bleu(texts, right) == sacrebleu.corpus_bleu(texts, [right]).score
    assert bleu(right, right) == pytest.approx(100)


def test_sentences_end_at_signs_and_lines():
    assert sentences('One. "Two!" 3.5\n\nFour') == ["One.", '"Two!"', "3.5", "Four"]


@pytest.mark.parametrize(
    ("package", "metric", "name"),
    [("rouge_score.rouge_scorer", rouge, "rouge-score"), ("sacrebleu", bleu, "sacrebleu")],
)
def test_a_missing_library_says_which_extra_installs_it(monkeypatch, package, metric, name):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError, match=rf"^{name} is not installed, which .*gpt2-keras\[metrics"
    ):
        metric(["a"], ["a"])


def test_as_many_predictions_as_references_are_needed():
    with pytest.raises(ValueError, match=r"^1 predictions were given for 2 references\. Give one"):
        bleu(["a"], ["a", "b"])
    with pytest.raises(ValueError, match=r"^predictions is empty\."):
        rouge([], [])
