"""The comparison of a task inside an artifact with the same task in Python."""

from collections.abc import Mapping

from gpt2_keras.applications import (
    ClassificationTask,
    TextTask,
    run_classification,
    run_task,
    task_from_dict,
)
from gpt2_keras.model import GPT2Model
from gpt2_keras.verification.artifact import Artifact, TaskAnswer
from gpt2_keras.verification.certificate import Check
from gpt2_keras.verification.text_suite import default_text

# Texts for the fields of tasks: short and long, with white space at their edges, quotes, bytes that
# are parts of characters; those of a field that may be cropped also much too long.
_SHORT = ("The cat sat on the mat.", '  "Was it 42?" she asked. ', "é𝄞\n\nx", "Who?")
_HISTORY = "\n\n".join(f"User: What is {i} and {i}?\n\nAssistant: {i + i}." for i in range(400))
PROBABILITY_TOLERANCE = 1e-3  # of two sums of log-probabilities in another order


def check_task(model: GPT2Model, artifact: Artifact, exact: bool) -> list[Check]:
    """Compares the answers of a task inside an artifact with those in Python.

    Returns:
        The check; none if there is no task inside.
    """
    contents = artifact.task()
    if contents is None:
        return []
    task, length = task_from_dict(contents), artifact.context_length(model)
    rows = _rows(task if isinstance(task, TextTask) else task.prompt)
    wrong: list[tuple[TaskAnswer, TaskAnswer]] = []
    for row in rows:
        theirs, ours = artifact.answer(task.name, row), _answer(model, task, row, length)
        if not _equal(theirs, ours):
            wrong.append((theirs, ours))
    failure = ""
    if wrong and exact:
        theirs, ours = wrong[0]
        failure = (
            f"{len(wrong)} of {len(rows)} answers of the task {task.name!r} differ from those in "
            f"Python: {str(theirs)[:80]}, and in Python {str(ours)[:80]}. Export this model again."
        )
    details = {"task": task.name, "texts": len(rows)}
    return [Check("answers that differ", len(wrong), 0 if exact else None, details, failure)]


def _rows(prompt: TextTask) -> list[dict[str, str]]:
    """Returns inputs of a task."""
    rows = []
    for index, short in enumerate(_SHORT):
        row = {}
        for field in prompt.fields:
            row[field.name] = short
            if field.crop == "turns":
                row[field.name] = _HISTORY if index % 2 else ""
            elif field.crop and index == 0:
                row[field.name] = default_text()
        rows.append(row)
    return rows


def _answer(
    model: GPT2Model,
    task: TextTask | ClassificationTask,
    row: Mapping[str, str],
    context_length: int,
) -> TaskAnswer:
    if isinstance(task, TextTask):
        (output,) = run_task(model, task, [row], seed=0, context_length=context_length)
        return TaskAnswer(output.text, [])
    found = run_classification(model, task, row["text"], context_length)
    return TaskAnswer(found.label, list(found.probabilities.values()))


def _equal(theirs: TaskAnswer, ours: TaskAnswer) -> bool:
    pairs = zip(theirs.probabilities, ours.probabilities, strict=True)
    close = all(abs(one - other) <= PROBABILITY_TOLERANCE for one, other in pairs)
    return close and theirs.text == ours.text
