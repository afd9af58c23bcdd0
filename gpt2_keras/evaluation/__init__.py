"""Evaluation: how well a model predicts texts, and what it can do untaught.

evaluate          perplexity, bits per byte and accuracy, by sliding windows
last_word         the last word of passages, as in LAMBADA
multiple_choice   the likeliest of several continuations
detokenize        text of a data set as people would have written it

`perplexity.py` has the protocol; `spans.py` scores the tokens.
"""

from gpt2_keras.evaluation.detokenizers import detokenize
from gpt2_keras.evaluation.perplexity import evaluate
from gpt2_keras.evaluation.report import Protocol, Report, TextResult
from gpt2_keras.evaluation.tasks import (
    LastWordResult,
    MultipleChoiceResult,
    last_word,
    multiple_choice,
)

__all__ = [
    "LastWordResult",
    "MultipleChoiceResult",
    "Protocol",
    "Report",
    "TextResult",
    "detokenize",
    "evaluate",
    "last_word",
    "multiple_choice",
]
