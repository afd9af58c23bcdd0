"""The tasks that an export can have inside."""

from collections.abc import Callable

from gpt2_keras.applications import (
    ClassificationTask,
    Task,
    TextTask,
    answer_task,
    chat_task,
    summary_task,
    translation_task,
)
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_choice, check_instance

_MAKERS: dict[str, Callable[[GPT2Model], TextTask]] = {
    "summarize": summary_task,
    "translate": translation_task,
    "answer": answer_task,
    "chat": chat_task,
}


def resolve_task(model: GPT2Model, task: Task | str | None) -> Task | None:
    """Returns the task that an argument means.

    Args:
        model: The model.
        task: A task, or the name of one with its usual settings, or None.

    Raises:
        TypeError: If it is of another type.
        ValueError: If there is no such name, or the model has no tokenizer.
    """
    if task is None:
        return None
    model.require_tokenizer()
    if isinstance(task, str):
        advice = "A classification needs labels: give a `classification_task`."
        return _MAKERS[check_choice("task", task, _MAKERS, advice=advice)](model)
    rule = "a TextTask, a ClassificationTask or the name of a task"
    check_instance("task", task, (TextTask, ClassificationTask), rule)
    return task


def prompt_of(task: Task) -> TextTask:
    """Returns the part of a task that has its prompt."""
    return task if isinstance(task, TextTask) else task.prompt
