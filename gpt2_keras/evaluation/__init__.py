"""Evaluation: how well a model predicts texts, and zero-shot tasks.

evaluate          perplexity, bits per byte and accuracy, in sliding windows
last_word         the last word of passages, as in LAMBADA
multiple_choice   the most likely of several continuations
detokenize        undoes the word splitting of a data set

The protocol is in `perplexity.py`; `spans.py` scores the tokens.
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
