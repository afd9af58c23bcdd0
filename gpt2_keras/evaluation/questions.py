"""Questions with choices, put as a protocol puts them."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from gpt2_keras.evaluation.data_sets import BLANK, Cloze, read_cloze, read_hellaswag
from gpt2_keras.evaluation.detokenizers import detokenize
from gpt2_keras.evaluation.task_protocol import TaskProtocol


@dataclasses.dataclass(frozen=True)
class Question:
    """A question.

    Args:
        source: File and line, for error messages.
        pairs: For each choice the text given, and the text to score.
        choices: The choices, whose lengths log-probabilities are divided by.
        label: The index of the right choice.
    """

    source: str
    pairs: tuple[tuple[str, str], ...]
    choices: tuple[str, ...]
    label: int


def read_questions(rules: TaskProtocol, path: Path) -> list[Question]:
    """Reads the questions of a file.

    Args:
        rules: A protocol of `"hellaswag"`, `"cbt-cn"` or `"cbt-ne"`.
        path: The file.

    Raises:
        ValueError: If the file is of another task or damaged.
    """
    if rules.task == "hellaswag":
        return [_hellaswag(rules, source, row) for source, row in read_hellaswag(rules.task, path)]
    put = _rest_of_sentence if rules.target == "choice and rest" else _passage
    return [
        Question(
            each.source,
            tuple(put(rules, each, choice) for choice in each.choices),
            each.choices,
            each.label,
        )
        for each in read_cloze(rules.task, path)
    ]


def _hellaswag(rules: TaskProtocol, source: str, row: dict[str, Any]) -> Question:
    """Returns a question of HellaSwag: the context as it is, or composed and cleaned."""
    context, choices = row["ctx"], row["endings"]
    if rules.detokenizer != "none":  # lm-evaluation-harness lm_eval/tasks/hellaswag/utils.py
        context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
        context = detokenize(context, rules.detokenizer)
        choices = [detokenize(choice, rules.detokenizer) for choice in choices]
    pairs = tuple((context, f" {choice}") for choice in choices)
    return Question(source, pairs, tuple(choices), row["label"])


def _rest_of_sentence(rules: TaskProtocol, cloze: Cloze, choice: str) -> tuple[str, str]:
    """Returns the text before a choice, and the choice with the rest of its sentence."""
    start, rest = cloze.question.split(BLANK, 1)
    whole = detokenize(f"{cloze.sentences} {start}{choice}{rest}", rules.detokenizer)
    before = detokenize(f"{cloze.sentences} {start}", rules.detokenizer)
    pairs = zip(whole, before, strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    given = whole[:same].rstrip()
    return given, whole[len(given) :]


def _passage(rules: TaskProtocol, cloze: Cloze, choice: str) -> tuple[str, str]:
    """Returns no context, and the passage with the choice filled in after it is detokenized.

    Source: EleutherAI/lm-evaluation-harness v0.2.0 lm_eval/tasks/cbt.py.
    """
    text = f"Passage: {cloze.sentences}\nQuestion: {cloze.question}"
    return "", detokenize(text, rules.detokenizer).replace(BLANK, choice)
