"""Readers of data sets as they are distributed."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from gpt2_keras.data.corpus_files import format_of
from gpt2_keras.data.rows import read_rows
from gpt2_keras.evaluation.data_set_formats import HEAD_BYTES, check_format, open_binary, text_of
from gpt2_keras.evaluation.examples import CHOICES, LABEL, TEXT, read_examples

# enwik8 and text8 have 100 million bytes, of which the last five are the usual test set.
_WHOLE_SIZE, _TEST_SIZE = 100_000_000, 5_000_000
_CBT_LINES = 21  # twenty sentences, and the question
BLANK = "XXXXX"
_TITLE = re.compile(r" ?= [^=].* = ?")


@dataclasses.dataclass(frozen=True)
class Cloze:
    """A question of the Children's Book Test.

    Args:
        source: File and line, for error messages.
        sentences: The twenty sentences before it, joined.
        question: A sentence with `XXXXX` in place of a word.
        choices: The words.
        label: The index of the right one.
    """

    source: str
    sentences: str
    question: str
    choices: tuple[str, ...]
    label: int


def read_texts(task: str, path: Path, document: str) -> list[str]:
    """Reads the text of a language modeling task.

    Args:
        task: `"wikitext-2"`, `"wikitext-103"`, `"ptb"`, `"enwik8"`, `"text8"` or `"1bw"`.
        path: The file; of WikiText also rows with `page` or `text`.
        document: What a text is: a `"file"`, a `"page"` or a `"line"`.

    Returns:
        The texts, none of them without a character. Of a whole enwik8 or text8 the last five
        million bytes.

    Raises:
        ValueError: If the file is of another task, not UTF-8, or empty.
    """
    expected = task.split("-")[0]
    rows = expected == "wikitext" and format_of(path) in ("parquet", "csv", "jsonl")
    content = b"" if rows else open_binary(path)
    if task in ("enwik8", "text8"):
        check_format(path, content, task, expected)
        text = _test_set(content)
    elif rows:
        text = _joined_rows(path)
    else:
        check_format(path, content, task, expected if expected == "wikitext" else "text")
        text = text_of(path, content)
    split = {"page": pages, "line": lambda whole: whole.split("\n")}
    texts = [each for each in split.get(document, lambda whole: [whole])(text) if each.strip()]
    if not texts:
        raise ValueError(f"{path} has no text. Name a file with at least one character.")
    return texts


def pages(text: str) -> list[str]:
    """Splits WikiText at its titles, lines like ` = Title = `.

    Example:
        >>> pages(" = A = \\n one \\n = B = \\n = = C = = \\n")
        [' = A = \\n one ', ' = B = \\n = = C = = \\n']
    """
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if _TITLE.fullmatch(line):
            found.append([])
        found[-1].append(line)
    return ["\n".join(lines) for lines in found if any(line.strip() for line in lines)]


def read_passages(task: str, path: Path) -> list[tuple[str, str]]:
    """Reads the passages of LAMBADA, with file and line of each.

    Args:
        task: `"lambada-openai"`, JSON objects with `text`; or `"lambada-standard"`, one passage
            per line.
        path: The file.

    Raises:
        ValueError: If the file is of another task, or has no passage.
    """
    if task == "lambada-openai":
        check_format(path, open_binary(path, HEAD_BYTES), task, task)
        return [(source, row["text"]) for source, row in read_examples(path, {"text": TEXT})]
    content = open_binary(path)
    check_format(path, content, task, "text")
    lines = text_of(path, content).split("\n")
    found = [(f"{path}, line {i}", line) for i, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise ValueError(f"{path} has no passage. Name a file with one per line.")
    return found


def read_cloze(task: str, path: Path) -> list[Cloze]:
    """Reads the Children's Book Test: twenty numbered lines, then question, answer and choices.

    Raises:
        ValueError: If the file is of another task or damaged.
    """
    content = open_binary(path)
    check_format(path, content, task, "cbt")
    found = []
    lines = [(i, each) for i, each in enumerate(text_of(path, content).split("\n"), 1) if each]
    for start in range(0, len(lines), _CBT_LINES):
        found.append(_cloze(path, lines[start : start + _CBT_LINES]))
    return found


def _cloze(path: Path, lines: list[tuple[int, str]]) -> Cloze:
    """Returns the question of 21 lines."""
    source = f"{path}, line {lines[0][0]}"
    texts = [re.sub(r"^\d+ ", "", line) for _, line in lines]
    columns = texts[-1].split("\t")
    if len(lines) != _CBT_LINES or len(columns) < 3 or BLANK not in columns[0]:
        raise ValueError(
            f"{source} begins no question of the Children's Book Test: its last line is "
            f"{texts[-1]!r:.80}. The 21st line has a sentence with {BLANK}, the answer, and "
            "choices between |. Fetch the file again."
        )
    choices = tuple(columns[-1].split("|"))
    if columns[1] not in choices:
        raise ValueError(
            f"{source} has the answer {columns[1]!r}, which is none of its choices "
            f"{', '.join(choices)}. Fetch the file again."
        )
    label = choices.index(columns[1])
    return Cloze(source, " ".join(texts[:-1]), columns[0], choices, label)


def read_hellaswag(task: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Reads HellaSwag, JSON objects with `ctx`, `ctx_a`, `ctx_b`, `activity_label`, `endings`.

    Returns:
        For each question file and line, and the object.

    Raises:
        ValueError: If the file is of another task, or a row is damaged.
    """
    check_format(path, open_binary(path, HEAD_BYTES), task, "hellaswag")
    names = ("ctx", "ctx_a", "ctx_b", "activity_label")
    rows = read_examples(path, {**dict.fromkeys(names, TEXT), "endings": CHOICES, "label": LABEL})
    for source, row in rows:
        if row["label"] >= len(row["endings"]):
            raise ValueError(
                f"{source} has label={row['label']} for {len(row['endings'])} endings. "
                "Labels count from 0; correct it."
            )
    return rows


def _joined_rows(path: Path) -> str:
    """Returns the rows of a file as one text: pages, or lines that keep their ends or have none."""
    rows_format = format_of(path)
    try:
        rows = [text for (text,) in read_rows(path, rows_format, {"text_field": "page"})]
    except ValueError:
        rows = [text for (text,) in read_rows(path, rows_format, {"text_field": "text"})]
    return "".join(row if row.endswith("\n") else f"{row}\n" for row in rows)


def _test_set(content: bytes) -> str:
    """Returns the text of the test set; a character split at an edge is left out."""
    if len(content) >= _WHOLE_SIZE:
        content = content[-_TEST_SIZE:]
    return content.decode("utf-8", errors="ignore")
