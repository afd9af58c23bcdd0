"""Applications measured on examples: summaries, translations, answers, labels."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from gpt2_keras.applications import answer, classify, summarize, translate
from gpt2_keras.applications.task_rows import TaskRows, read_task_rows
from gpt2_keras.evaluation.protocols import APPLICATION_PROTOCOLS
from gpt2_keras.evaluation.published import published_figures
from gpt2_keras.evaluation.task_evaluation import PathLike, Progress, TaskResult
from gpt2_keras.evaluation.text_metrics import bleu, exact_match, f1, rouge
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_choice, check_integer

_BATCH_SIZE = 8


def evaluate_application(
    model: GPT2Model,
    task: str,
    file: PathLike,
    *,
    seed: int = 0,
    batch_size: int | None = None,
    on_progress: Progress | None = None,
    **settings: Any,
) -> TaskResult:
    """Measures an application on examples with right answers.

    Args:
        model: A model with a tokenizer.
        task: `"summarize"`, measured by ROUGE; `"translate"`, by BLEU; `"answer"`, by exact match
            and F1; or `"classify"`, by accuracy, with the labels of the file.
        file: The examples, as for `train --task`.
        seed: Makes sampling repeatable.
        batch_size: Number of texts that are answered together; by default 8.
        on_progress: Called with the number of examples done and of all.
        **settings: As for the function of that name, such as `num_sentences` of `summarize`.

    Returns:
        The measures, with what was published.

    Raises:
        TypeError, ValueError: If an argument or a row is wrong.
        ImportError: If the library of a metric is not installed.
        FileNotFoundError: If the file does not exist.
    """
    check_choice("task", task, APPLICATION_PROTOCOLS)
    size = check_integer("batch_size", batch_size or _BATCH_SIZE, minimum=1)
    rows = read_task_rows(task, os.fspath(file))
    ask, measure = _MEASURES[task]
    _check_metric(task)  # before the long work
    outputs: list[Any] = []
    for start in range(0, len(rows), size):
        part = TaskRows(task, rows.rows[start : start + size])
        outputs += ask(model, rows, part, seed + start, settings)
        if on_progress is not None:
            on_progress(len(outputs), len(rows))
    return TaskResult(
        protocol=APPLICATION_PROTOCOLS[task],
        files=(str(file),),
        num_examples=len(rows),
        num_tokens=sum(len(each.generation.token_ids) for each in outputs)
        if task != "classify"
        else 0,
        measures=measure([str(each) for each in outputs], rows),
        context_length=model.config.context_length,
        dtype=model.dtype_policy.name,
        published=tuple(published_figures(task, "paper", model.config)),
    )


def _texts(rows: TaskRows, name: str) -> list[str]:
    return [row[name] for _, row in rows.rows]


def _summaries(model: GPT2Model, _: TaskRows, part: TaskRows, seed: int, given: Any) -> Any:
    return summarize(model, _texts(part, "text"), seed=seed, **given)


def _translations(model: GPT2Model, _: TaskRows, part: TaskRows, seed: int, given: Any) -> Any:
    return translate(model, _texts(part, "source"), seed=seed, **given)


def _answers(model: GPT2Model, _: TaskRows, part: TaskRows, seed: int, given: Any) -> Any:
    return [
        answer(model, row["question"], document=row.get("document", ""), seed=seed, **given)
        for _, row in part.rows
    ]


def _labels(model: GPT2Model, rows: TaskRows, part: TaskRows, _: int, given: Any) -> Any:
    return classify(model, _texts(part, "text"), sorted(set(_texts(rows, "label"))), **given)


def _measure_summaries(texts: Sequence[str], rows: TaskRows) -> dict[str, float]:
    return rouge(texts, _texts(rows, "summary"))


def _measure_translations(texts: Sequence[str], rows: TaskRows) -> dict[str, float]:
    return {"bleu": bleu(texts, _texts(rows, "target"))}


def _measure_answers(texts: Sequence[str], rows: TaskRows) -> dict[str, float]:
    pairs = list(zip(texts, _texts(rows, "answer"), strict=True))
    return {
        "exact_match": sum(exact_match(text, [right]) for text, right in pairs) / len(pairs),
        "f1": sum(f1(text, [right]) for text, right in pairs) / len(pairs),
    }


def _measure_labels(texts: Sequence[str], rows: TaskRows) -> dict[str, float]:
    right = _texts(rows, "label")
    equal = [text == label for text, label in zip(texts, right, strict=True)]
    return {"accuracy": sum(equal) / len(equal)}


_MEASURES: dict[str, tuple[Callable[..., Any], Callable[..., dict[str, float]]]] = {
    "summarize": (_summaries, _measure_summaries),
    "translate": (_translations, _measure_translations),
    "answer": (_answers, _measure_answers),
    "classify": (_labels, _measure_labels),
}


def _check_metric(task: str) -> None:
    """Raises an ImportError if the library of the metric is missing."""
    if task == "summarize":
        rouge(["a"], ["a"])
    elif task == "translate":
        bleu(["a"], ["a"])
