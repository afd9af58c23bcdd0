"""The rows of a file of examples of a task: text and summary, question and answer, and so on."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from gpt2_keras.data.conversation_text import check_message
from gpt2_keras.data.corpus_files import check_paths, format_of
from gpt2_keras.data.rows import read_objects, read_rows
from gpt2_keras.validation import check_choice

# The fields of a row, by task: what is given, and last what is to be learned.
FIELDS = {
    "summarize": ("text", "summary"),
    "translate": ("source", "target"),
    "answer": ("question", "answer"),
    "classify": ("text", "label"),
    "chat": ("messages",),
}
# A row may have it, too.
OPTIONAL = {"answer": "document"}
TRAINED_TASKS = tuple(FIELDS)
DEFAULT_VALIDATION_FRACTION = 0.1


@dataclasses.dataclass(frozen=True)
class TaskRows:
    """The rows of a file of examples.

    Args:
        task: The task.
        rows: For each file and line, for error messages, and the fields.
    """

    task: str
    rows: tuple[tuple[str, dict[str, Any]], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def split(self, validation_fraction: float | None) -> "tuple[TaskRows, TaskRows]":
        """Returns the rows to train on, and the last ones, to validate on: at least one of each.

        Raises:
            ValueError: If there are fewer than two rows.
        """
        if len(self) < 2:
            raise ValueError(
                f"There is {len(self)} example of {self.task!r}, and one is needed to train on and "
                "one to validate on. Add examples."
            )
        fraction = validation_fraction or DEFAULT_VALIDATION_FRACTION
        first = min(len(self) - 1, max(1, round(len(self) * (1 - fraction))))
        return TaskRows(self.task, self.rows[:first]), TaskRows(self.task, self.rows[first:])


def read_task_rows(task: str, path: str | os.PathLike[str]) -> TaskRows:
    """Reads a file of examples: JSONL, or CSV or Parquet of tasks without lists.

    Args:
        task: One of `TRAINED_TASKS`.
        path: The file, whose rows have the fields of the task: `text` and `summary`, `source`
            and `target`, `question` and `answer` (and, if they like, `document`), `text` and
            `label`, or `messages`.

    Raises:
        FileNotFoundError, IsADirectoryError: If there is no such file.
        ValueError: If a row lacks a field, or there is no row. It names file and line.
    """
    check_choice("task", task, TRAINED_TASKS)
    (file,) = check_paths([path])
    read = _read_table if format_of(file) in ("csv", "parquet") else _read_jsonl
    rows = tuple(read(task, file))
    if not rows:
        raise ValueError(f"{file} has no example. Write one JSON object per line.")
    return TaskRows(task, rows)


def _read_table(task: str, file: Path) -> list[tuple[str, dict[str, Any]]]:
    names = FIELDS[task]
    if task == "chat":
        raise ValueError(
            f"{file} is a {format_of(file)} file, and conversations are rows of JSONL files. Write "
            "one JSON object per line."
        )
    rows = read_rows(file, format_of(file), {name: name for name in names}, or_format="")
    return [
        (f"{file}, row {number}", dict(zip(names, row, strict=True)))
        for number, row in enumerate(rows, 1)
    ]


def _read_jsonl(task: str, file: Path) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for number, row in read_objects(file):
        source = f"{file}, line {number},"
        _check_row(task, source, row)
        found.append((source, row))
    return found


def _check_row(task: str, source: str, row: dict[str, Any]) -> None:
    """Raises a ValueError if a row is not one of the task."""
    names = FIELDS[task]
    if task == "chat":
        messages: Any = row.get("messages")
        listed = messages if isinstance(messages, list) else []
        for index, message in enumerate(listed):
            check_message(f"{source} message {index + 1},", message)
        if "assistant" not in [message["role"] for message in listed]:
            raise ValueError(
                f"{source} has messages={messages!r:.60}, with no turn of the assistant to learn; "
                f"its fields are {', '.join(row) or 'none'}. Correct the row, or leave it out."
            )
        return
    optional = [OPTIONAL[task]] if OPTIONAL.get(task) in row else []
    for name in (*names, *optional):
        value = row.get(name)
        if not isinstance(value, str) or (name in names and not value.strip()):
            raise ValueError(
                f"{source} has {name}={value!r:.60}, not a text; its fields are "
                f"{', '.join(row) or 'none'}. An example of {task!r} has {' and '.join(names)}. "
                "Correct the row, or leave it out."
            )
