"""Applications: what people ask a language model to do, from text to text.

summarize, translate, answer    one prompt, one answer; each is a `TextTask`, which is data
classify                        the most probable of several labels, calibrated
Chat                            a conversation

`text_task.py` fills a prompt and generates; an export runs the same tasks in its graph.
"""

from gpt2_keras.applications.answer import answer, answer_task
from gpt2_keras.applications.chat import Chat, Reply
from gpt2_keras.applications.classify import (
    Classification,
    ClassificationTask,
    classification_task,
    classify,
)
from gpt2_keras.applications.summarize import summarize, summary_task
from gpt2_keras.applications.text_task import TaskOutput, TextTask, run_task
from gpt2_keras.applications.translate import translate, translation_task

__all__ = [
    "Chat",
    "Classification",
    "ClassificationTask",
    "Reply",
    "TaskOutput",
    "TextTask",
    "answer",
    "answer_task",
    "classification_task",
    "classify",
    "run_task",
    "summarize",
    "summary_task",
    "translate",
    "translation_task",
]
