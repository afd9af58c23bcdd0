"""Text files in pieces: of any size, compressed or not, in constant memory."""

import codecs
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gpt2_keras.data.files import (
    FilePath,
    Opener,
    damage_named,
    decompressed,
    is_compressed,
    open_local,
)

BLOCK_BYTES = 256 * 1024
# Text without a place to cut is held in memory up to this many characters.
LONGEST_UNCUT = 64 * 1024 * 1024

# Places where GPT-2's pattern starts a new piece whatever comes before and
# after, so that the two sides have the ids they have together:
#   before the last character of white space, if one that is none follows;
#   between a letter and a digit;
#   between a letter or a digit and a punctuation mark.
# Only characters whose class no version of Unicode has changed are named. Not
# between a punctuation mark and a letter: `'s` is one piece. Not after white
# space: `\s+(?!\S)` looks one character ahead.
_PUNCTUATION = r"!-/:-@\[-`{-~、。，"
_SAFE_CUT = re.compile(
    r"(?=[ \t\n\r\u3000][!-~\w])"
    r"|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"
    rf"|(?<=[A-Za-z0-9ぁ-ゔァ-ヺ一-龥])(?=[{_PUNCTUATION}])"
)
_TAIL = 4096  # nearly every text has a place to cut in its last 4096 characters


def check_paths(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Returns the paths of a corpus, each of which is a file.

    Raises:
        TypeError: If `paths` is one path.
        ValueError: If there is none.
        FileNotFoundError: If one is not there.
        IsADirectoryError: If one is a directory.
    """
    if isinstance(paths, str | os.PathLike):
        raise TypeError(
            f"`paths` must be several paths. Received: paths={os.fspath(paths)!r}. "
            "Put it into a list."
        )
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError(
            "A corpus has at least one file. Received: paths=[]. Name the files to read."
        )
    for file in files:
        if file.is_dir():
            raise IsADirectoryError(
                f"A corpus is made of files. Received: {str(file)!r}, a directory. "
                f"Name its files, for example {file / '*.txt'}."
            )
        if not file.exists():
            raise FileNotFoundError(
                f"A corpus is made of files. Received: {str(file)!r}, which is not there. "
                "Check the spelling."
            )
    return files


def read_text(
    path: FilePath,
    *,
    on_bytes: Callable[[int], None] | None = None,
    open_file: Opener = open_local,
) -> Iterator[str]:
    """Reads one UTF-8 file in pieces, cut as `cut_safely` does.

    Args:
        path: File, decompressed if its name says so.
        on_bytes: Called with the number of bytes read from disk.
        open_file: Opens the file.

    Raises:
        ValueError: If the file is not UTF-8 text, is damaged, or has more than
            64 Mi characters without a place to cut.
    """
    return cut_safely(_without_mark(_decode(path, on_bytes, open_file)), path)


def cut_safely(texts: Iterable[str], path: FilePath) -> Iterator[str]:
    """Cuts a text anew, only where GPT-2's pattern starts a new piece.

    The token ids of the pieces, put together, are those of the whole.

    Args:
        texts: The text in pieces, cut anywhere.
        path: Where it is from, for errors.

    Returns:
        Pieces about as large as the given ones, none of them empty. Text with no
        place to cut is kept whole, up to 64 Mi characters.

    Raises:
        ValueError: While reading, if more has no place to cut.

    Example:
        >>> list(cut_safely(["a te", "xt, a la", "te one"], "a.txt"))
        ['a', ' text, a', ' late', ' one']
    """
    held = ""
    for text in texts:
        seen = len(held)
        held += text
        cut = _last_safe_cut(held, seen)
        if cut:
            yield held[:cut]
            held = held[cut:]
        elif len(held) > LONGEST_UNCUT:
            raise ValueError(
                "Text has spaces, line ends or punctuation. "
                f"Received: {path}, with more than {LONGEST_UNCUT} characters without a place to "
                "cut. If it is text, break it into lines."
            )
    if held:
        yield held


def _without_mark(texts: Iterable[str]) -> Iterator[str]:
    """Leaves out a byte order mark at the start."""
    is_first = True
    for text in texts:
        yield text.removeprefix("\ufeff") if is_first else text
        is_first = is_first and not text


def _last_safe_cut(text: str, seen: int) -> int:
    """Returns the last position where text can be cut, or 0.

    Characters before `seen` were searched before; the last of them had no right neighbour then.
    """
    for start in (max(0, len(text) - _TAIL), max(0, seen - 1)):
        cut = max((match.start() for match in _SAFE_CUT.finditer(text, start)), default=0)
        if cut:
            return cut
    return 0


def _decode(
    path: FilePath, on_bytes: Callable[[int], None] | None, open_file: Opener
) -> Iterator[str]:
    """Reads and decodes a file block by block, without a thought for where text may be cut."""
    offset, pending, is_last = 0, b"", False
    with open_file(path) as file, decompressed(file, path) as stream:
        while not is_last:
            with damage_named(path):
                block = stream.read(BLOCK_BYTES)
            is_last = not block
            raw = pending + block
            try:
                text, used = codecs.utf_8_decode(raw, "strict", is_last)
            except UnicodeDecodeError as error:
                raise _not_text(path, raw, offset, error.start) from error
            if "\0" in text:
                raise _not_text(path, raw, offset, raw.index(b"\0"))
            offset, pending = offset + used, raw[used:]
            if on_bytes is not None:
                on_bytes(file.tell())
            yield text


def _not_text(path: FilePath, raw: bytes, offset: int, index: int) -> ValueError:
    return ValueError(
        "A corpus is UTF-8 text without NUL. "
        f"Received: {path}, with byte 0x{raw[index]:02x} at offset {offset + index}"
        f"{' of its decompressed content' if is_compressed(path) else ''}. "
        "Convert it (`iconv -t UTF-8`), or leave it out if it is no text."
    )
