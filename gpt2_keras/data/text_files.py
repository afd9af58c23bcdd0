"""Text files as chunks: of any size, compressed or not, in constant memory."""

import codecs
import re
from collections.abc import Callable, Collection, Iterable, Iterator

from gpt2_keras.data.corpus_files import (
    TO_UTF8,
    FilePath,
    Opener,
    decompressed,
    decompression_errors,
    is_compressed,
    open_local,
)

BLOCK_BYTES = 256 * 1024
# Text without a pre-token boundary is held in memory up to this many characters.
MAX_HELD_CHARACTERS = 64 * 1024 * 1024

# Positions where GPT-2's pattern starts a new pre-token whatever comes before and after, so that
# the two sides have the ids they have together:
#   before the last character of white space, if a character that is no white space follows;
#   between a letter and a digit;
#   between a letter or a digit and a punctuation mark.
# Only characters whose class no version of Unicode has changed are named. Not between a
# punctuation mark and a letter: `'s` is one pre-token. Not after white space: `\s+(?!\S)` looks
# one character ahead.
_PUNCTUATION = r"!-/:-@\[-`{-~、。，"
_PRETOKEN_BOUNDARY = re.compile(
    r"(?=[ \t\n\r\u3000][!-~\w])"
    r"|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"
    rf"|(?<=[A-Za-z0-9ぁ-ゔァ-ヺ一-龥])(?=[{_PUNCTUATION}])"
)
_TAIL = 4096  # nearly every text has a boundary in its last 4096 characters


def read_chunks(
    path: FilePath, *, on_bytes: Callable[[int], None] | None = None, open_file: Opener = open_local
) -> Iterator[str]:
    """Reads one UTF-8 file in chunks that end at pre-token boundaries, as `rechunk` does.

    Args:
        path: File, decompressed by the ending of its name.
        on_bytes: Called with the number of bytes read from disk.
        open_file: Opens the file.

    Raises:
        ValueError: If the file is not UTF-8 text, is damaged, or has more than
            64 Mi characters without a pre-token boundary.
    """
    return rechunk(_decode(path, on_bytes, open_file), path)


def rechunk(texts: Iterable[str], path: FilePath) -> Iterator[str]:
    """Splits a text into chunks that end only at pre-token boundaries.

    The token ids of the chunks, joined, are those of the whole.

    Args:
        texts: The text, split anywhere.
        path: Its file, for errors.

    Returns:
        Chunks about as large as the given ones, none of them empty. Text without a
        boundary is kept whole, up to 64 Mi characters.

    Raises:
        ValueError: While reading, if more has no boundary.

    Example:
        >>> list(rechunk(["a te", "xt, a la", "te one"], "a.txt"))
        ['a', ' text, a', ' late', ' one']
    """
    held = ""
    for text in texts:
        searched = len(held)
        held += text
        boundary = _last_boundary(held, searched)
        if boundary:
            yield held[:boundary]
            held = held[boundary:]
        elif len(held) > MAX_HELD_CHARACTERS:
            raise ValueError(
                f"{path} has more than {MAX_HELD_CHARACTERS} characters without a space, a line "
                "end or punctuation where it could be split. If it is text, break it into lines."
            )
    if held:
        yield held


def _last_boundary(text: str, searched: int) -> int:
    """Returns the last pre-token boundary of a text, or 0.

    Characters before `searched` were searched before; the last of them had no right neighbour
    then.
    """
    for start in (max(0, len(text) - _TAIL), max(0, searched - 1)):
        matches = _PRETOKEN_BOUNDARY.finditer(text, start)
        boundary = max((match.start() for match in matches), default=0)
        if boundary:
            return boundary
    return 0


def last_boundary_between(text: str, special: re.Pattern[str], tokens: Collection[str]) -> int:
    """Returns the last pre-token boundary at which special tokens can be split too, or 0.

    It is not inside a special token, nor inside what the text that follows may make one, and
    no character of white space alone stands between it and such a token: the white space
    before it would have other ids together.

    Args:
        text: The text.
        special: Finds the special tokens.
        tokens: The special tokens.
    """
    spans = [match.span() for match in special.finditer(text)]
    sizes = [
        size for token in tokens for size in range(1, len(token)) if text.endswith(token[:size])
    ]
    if sizes:
        spans.append((len(text) - max(sizes), len(text) + 1))
    inside = {index for start, end in spans for index in range(start + 1, end)}
    inside |= {start - 1 for start, _ in spans if text[start - 1 : start].isspace()}
    for first in (max(0, len(text) - _TAIL), 0):
        starts = (match.start() for match in _PRETOKEN_BOUNDARY.finditer(text, first))
        if boundary := max((start for start in starts if start not in inside), default=0):
            return boundary
    return 0


def _decode(
    path: FilePath, on_bytes: Callable[[int], None] | None, open_file: Opener
) -> Iterator[str]:
    """Decodes a file, without its byte order mark, block by block; blocks end anywhere."""
    offset, pending, is_last = 0, b"", False
    with open_file(path) as file, decompressed(file, path) as stream:
        while not is_last:
            with decompression_errors(path):
                block = stream.read(BLOCK_BYTES)
            is_last = not block
            raw = pending + block
            try:
                text, used = codecs.utf_8_decode(raw, "strict", is_last)
            except UnicodeDecodeError as error:
                raise _not_text(path, raw, offset, error.start) from error
            if "\0" in text:
                raise _not_text(path, raw, offset, raw.index(b"\0"))
            text = text if offset else text.removeprefix("\ufeff")
            offset, pending = offset + used, raw[used:]
            if on_bytes is not None:
                on_bytes(file.tell())
            yield text


def _not_text(path: FilePath, raw: bytes, offset: int, index: int) -> ValueError:
    where = " of its decompressed content" if is_compressed(path) else ""
    return ValueError(
        f"{path} has byte 0x{raw[index]:02x} at offset {offset + index}{where}, which is not UTF-8 "
        f"text without NUL. Convert it ({TO_UTF8}), or leave it out if it is not text."
    )
