"""Applications: what people ask a language model to do, from text to text.

summarize, translate, answer    one prompt, one answer; each is a `TextTask`, which is data
classify                        the most probable of several labels, calibrated
Chat                            a conversation

`text_task.py` fills a prompt and generates; an export runs the same tasks in its graph.
"""

from collections.abc import Mapping
from typing import Any

from gpt2_keras.applications.answer import answer, answer_task
from gpt2_keras.applications.chat import Chat, Reply
from gpt2_keras.applications.chat_task import chat_task
from gpt2_keras.applications.classify import (
    Classification,
    ClassificationTask,
    classification_task,
    classify,
    run_classification,
)
from gpt2_keras.applications.summarize import summarize, summary_task
from gpt2_keras.applications.text_task import TaskOutput, TextTask, run_task
from gpt2_keras.applications.translate import translate, translation_task

Task = TextTask | ClassificationTask

__all__ = [
    "Chat",
    "Classification",
    "ClassificationTask",
    "Reply",
    "Task",
    "TaskOutput",
    "TextTask",
    "answer",
    "answer_task",
    "chat_task",
    "classification_task",
    "classify",
    "run_classification",
    "run_task",
    "summarize",
    "summary_task",
    "task_from_dict",
    "translate",
    "translation_task",
]


def task_from_dict(contents: Mapping[str, Any]) -> Task:
    """Returns the task that an artifact has inside, of its `to_dict` dictionary."""
    kind = ClassificationTask if "labels" in contents else TextTask
    return kind.from_dict(contents)
