"""Evaluation: how well a model predicts texts, and zero-shot tasks.

evaluate          perplexity, bits per byte and accuracy, in sliding windows
evaluate_task     a published task by a published protocol, of `protocols.py`
last_word         the last word of passages of your own
multiple_choice   the most likely of several continuations
evaluate_application    summaries by ROUGE, translations by BLEU, answers by F1
detokenize        undoes the word splitting of a data set

`continuations.py` says which tokens of a text are scored, `generation/spans.py` scores them. The
names are loaded on first use: the protocols need no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt2_keras.evaluation.application_evaluation import evaluate_application
    from gpt2_keras.evaluation.detokenizers import detokenize
    from gpt2_keras.evaluation.perplexity import evaluate
    from gpt2_keras.evaluation.protocols import TASKS, find_protocol
    from gpt2_keras.evaluation.published import PublishedFigure
    from gpt2_keras.evaluation.report import Protocol, Report, TextResult
    from gpt2_keras.evaluation.task_evaluation import TaskResult, evaluate_task
    from gpt2_keras.evaluation.task_protocol import TaskProtocol
    from gpt2_keras.evaluation.tasks import (
        LastWordResult,
        MultipleChoiceResult,
        last_word,
        multiple_choice,
    )
    from gpt2_keras.evaluation.text_metrics import bleu, exact_match, f1, rouge

_HOMES = {
    "TASKS": "protocols",
    "LastWordResult": "tasks",
    "MultipleChoiceResult": "tasks",
    "Protocol": "report",
    "PublishedFigure": "published",
    "Report": "report",
    "TaskProtocol": "task_protocol",
    "TaskResult": "task_evaluation",
    "TextResult": "report",
    "detokenize": "detokenizers",
    "bleu": "text_metrics",
    "evaluate": "perplexity",
    "evaluate_application": "application_evaluation",
    "evaluate_task": "task_evaluation",
    "exact_match": "text_metrics",
    "f1": "text_metrics",
    "find_protocol": "protocols",
    "last_word": "tasks",
    "multiple_choice": "tasks",
    "rouge": "text_metrics",
}

__all__ = [
    "TASKS",
    "LastWordResult",
    "MultipleChoiceResult",
    "Protocol",
    "PublishedFigure",
    "Report",
    "TaskProtocol",
    "TaskResult",
    "TextResult",
    "bleu",
    "detokenize",
    "evaluate",
    "evaluate_application",
    "evaluate_task",
    "exact_match",
    "f1",
    "find_protocol",
    "last_word",
    "multiple_choice",
    "rouge",
]


def __getattr__(name: str) -> Any:
    """Loads a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gpt2_keras.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(f"gpt2_keras.evaluation.{_HOMES[name]}"), name)
