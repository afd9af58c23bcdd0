"""Metrics of generated texts: ROUGE and BLEU from libraries, exact match and F1 of answers."""

import collections
import re
import string
from collections.abc import Callable, Sequence
from typing import Any

from gpt2_keras.applications.post_processing import sentences
from gpt2_keras.validation import check_texts

ROUGE_TYPES = ("rouge1", "rouge2", "rougeLsum")
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def rouge(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Returns the mean F1 of ROUGE-1, ROUGE-2 and ROUGE-Lsum, by the library rouge-score.

    With stemming, and a line end between two sentences, which ROUGE-Lsum compares: the ROUGE-L of
    papers on CNN/Daily Mail (google-research/google-research#168).

    Args:
        predictions: The summaries.
        references: The right one of each.

    Raises:
        ImportError: If rouge-score is not installed.
        ValueError: If their numbers differ, or there is none.

    Example:
        >>> rouge(["the cat sat."], ["the cat sat."])
        {'rouge1': 1.0, 'rouge2': 1.0, 'rougeLsum': 1.0}
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise _missing("rouge-score", "ROUGE") from error
    pairs = _pairs(predictions, references)
    scorer = RougeScorer(list(ROUGE_TYPES), use_stemmer=True)
    scores = [scorer.score(_lines(right), _lines(text)) for text, right in pairs]
    return {name: _mean([float(each[name].fmeasure) for each in scores]) for name in ROUGE_TYPES}


def bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Returns the BLEU of a corpus, from 0 to 100, by sacrebleu with its usual settings.

    Raises:
        ImportError: If sacrebleu is not installed.
        ValueError: If the numbers of texts differ, or there is none.
    """
    try:
        import sacrebleu
    except ImportError as error:
        raise _missing("sacrebleu", "BLEU") from error
    pairs = _pairs(predictions, references)
    texts, right = (list(each) for each in zip(*pairs, strict=True))
    return float(sacrebleu.corpus_bleu(texts, [right]).score)


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """Returns 1 if an answer is one of the right ones, normalized as SQuAD does, else 0.

    Source: `evaluate-v1.1.py` of SQuAD (Rajpurkar et al., 2016): lower case, without
    punctuation, articles and repeated white space.

    Example:
        >>> exact_match("The cat!", ["a dog", "cat"])
        1.0
    """
    return _best(prediction, golds, lambda one, other: float(one == other))


def f1(prediction: str, golds: Sequence[str]) -> float:
    """Returns the largest F1 of the words of an answer and of a right one; see `exact_match`.

    Example:
        >>> f1("the black cat", ["a cat sat"])
        0.5
    """
    return _best(prediction, golds, _word_f1)


def f1_leaving_one_out(prediction: str, golds: Sequence[str]) -> float:
    """Returns the F1 of an answer as CoQA has it, where people are measured the same way.

    With several right answers it is the mean over all but one of them: of the largest F1 with
    those left. Source: `evaluate-v1.0.py` of CoQA (Reddy et al., 2019).

    Example:
        >>> f1_leaving_one_out("cat", ["cat", "dog"])
        0.5
    """
    listed = check_texts("golds", golds)
    if len(listed) == 1:
        return f1(prediction, listed)
    left = [listed[:index] + listed[index + 1 :] for index in range(len(listed))]
    return _mean([f1(prediction, rest) for rest in left])


def normalize_answer(text: str) -> str:
    """Returns an answer as SQuAD compares it."""
    without = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", without).split())


def _best(prediction: str, golds: Sequence[str], compare: Callable[[str, str], float]) -> float:
    answer = normalize_answer(prediction)
    return max(compare(answer, normalize_answer(gold)) for gold in check_texts("golds", golds))


def _word_f1(prediction: str, gold: str) -> float:
    words, right = prediction.split(), gold.split()
    if not words or not right:
        return float(words == right)
    common = sum((collections.Counter(words) & collections.Counter(right)).values())
    return 2 * common / (len(words) + len(right))


def _lines(text: str) -> str:
    """Returns a text with its sentences in lines."""
    return "\n".join(sentences(text))


def _pairs(predictions: Sequence[str], references: Sequence[str]) -> list[tuple[str, str]]:
    texts = check_texts("predictions", predictions)
    right = check_texts("references", references)
    if len(texts) != len(right):
        raise ValueError(
            f"{len(texts)} predictions were given for {len(right)} references. Give one for each."
        )
    return list(zip(texts, right, strict=True))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _missing(package: str, metric: str) -> Any:
    return ImportError(
        f"{package} is not installed, which computes {metric}. "
        "Run: pip install 'gpt2-keras[metrics]'."
    )
