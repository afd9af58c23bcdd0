"""What a file of a data set looks like, so that a file of another one is told."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

from gpt2_keras.data.corpus_files import decompressed, decompression_errors, format_of, open_local
from gpt2_keras.json_text import parse_json

HEAD_BYTES = 64 * 1024
# What is looked at, in words, and as a pattern of the beginning of a text file.
_PATTERNS = {
    "cbt": ("the Children's Book Test, numbered lines with choices in the 21st", r"1 .*\n2 .*\n3 "),
    "enwik8": ("enwik8, an XML dump of Wikipedia", r"\s*<mediawiki "),
    "wikitext": ("WikiText, with lines like ` = Title = `", r"(?s)(?:.*\n)? ?= [^=\n]+ = ?\n"),
    "text8": ("text8, letters and single spaces in one line", r"[a-z ]{1000,}\Z"),
}
# By the fields of JSON objects.
_FIELDS = {
    "hellaswag": ("HellaSwag, JSON objects with `ctx` and `endings`", {"ctx", "endings", "label"}),
    "wikitext": ("WikiText, rows with `page`", {"page"}),
    "lambada-openai": ("JSON objects with `text`, as OpenAI's LAMBADA has", {"text"}),
}
_PLAIN = "plain text"


def open_binary(path: Path, size: int = -1) -> bytes:
    """Returns the content of a file, of the one member of a `.zip`, or decompressed.

    Args:
        path: The file.
        size: Number of bytes to read; by default all.

    Raises:
        ValueError: If it cannot be decompressed, or a `.zip` has not one file.
    """
    if path.suffix != ".zip":
        with open_local(path) as file, decompressed(file, path) as stream:
            with decompression_errors(path):
                content: bytes = stream.read(size)
            return content
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if len(names) != 1:
                raise ValueError(
                    f"{path} has {len(names)} files ({', '.join(names[:3])}). A .zip file of a "
                    "data set has one. Unpack it, and name the file."
                )
            with archive.open(names[0]) as member:
                return member.read(size)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path} is no .zip file that can be read ({error}). Fetch it again."
        ) from error


def check_format(path: Path, content: bytes, task: str, expected: str) -> None:
    """Raises a ValueError if a file looks like another data set than that of the task.

    Args:
        path: The file.
        content: Its content.
        task: The task, for the message.
        expected: A key of the patterns or fields above, or `"text"` for plain text.
    """
    key, words = looks_like(path, content)
    if key == expected:
        return
    if expected == "enwik8" and key == "text":
        return  # a part of it, which begins anywhere
    rule = {**_PATTERNS, **_FIELDS}.get(expected, (_PLAIN, None))[0]
    raise ValueError(
        f"{path} looks like {words}. The files of task={task!r} are {rule}. "
        "Name a file of this task, or the task of this file."
    )


def looks_like(path: Path, content: bytes) -> tuple[str, str]:
    """Returns the data set that a file may be of, as a key and in words."""
    if format_of(path) == "parquet":
        return "rows", "a Parquet file"
    head = content[:HEAD_BYTES].decode("utf-8", errors="ignore")
    first = head.lstrip().split("\n", 1)[0]
    if first.startswith("{"):
        return _of_object(first)
    for key, (words, pattern) in _PATTERNS.items():
        if re.match(pattern, head):
            return key, words
    return "text", _PLAIN


def _of_object(line: str) -> tuple[str, str]:
    try:
        row: Any = parse_json(line)
    except ValueError:
        return "text", _PLAIN
    for key, (words, fields) in _FIELDS.items():
        if fields <= set(row):
            return key, words
    return "objects", f"JSON objects with {', '.join(map(repr, row))}"


def text_of(path: Path, content: bytes) -> str:
    """Returns the text of a file's content.

    Raises:
        ValueError: If it is not UTF-8.
    """
    try:
        return io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="").read()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} has byte 0x{content[error.start]:02x}, which is not UTF-8. Convert it, for "
            "example `iconv -f latin1 -t UTF-8` if it is Latin-1."
        ) from error
