"""Text files in pieces: any number, of any size, compressed or not, in constant memory."""

import bz2
import codecs
import gzip
import itertools
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

BLOCK_BYTES = 256 * 1024
# Text without a place to cut is held in memory up to this many characters.
LONGEST_UNCUT = 64 * 1024 * 1024

_OPENERS: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}

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


def read_texts(
    paths: Iterable[str | os.PathLike[str]],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[str]:
    """Reads UTF-8 files in pieces, one file after the other.

    The token ids of the pieces of a file, put together, are those of the file:
    it is only cut where GPT-2's pattern starts a new piece. Line ends are kept
    as they are; a byte order mark at the start of a file is left out.

    Args:
        paths: Files; those that end in `.gz`, `.bz2` or `.xz` are decompressed.
        on_progress: Called with the number of bytes read and of all bytes, as
            they are on disk.

    Returns:
        Pieces of a quarter of a megabyte or so, none of them empty. Text with
        no place to cut is kept whole, up to 64 Mi characters.

    Raises:
        TypeError: If `paths` is one path.
        ValueError: If no path is given. While reading: if a file is not UTF-8
            text, is damaged, or cannot be cut, or if all files are empty.
        FileNotFoundError: If a file is not there.
        IsADirectoryError: If a path is a directory.
    """
    return itertools.chain.from_iterable(read_documents(paths, on_progress=on_progress))


def read_documents(
    paths: Iterable[str | os.PathLike[str]],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Iterator[str]]:
    """Reads UTF-8 files as `read_texts` does, with the pieces of each file apart.

    Returns:
        For each file its pieces, to be read before the next file is asked for.
    """
    return _read_documents(check_paths(paths), on_progress)


def _read_documents(
    files: list[Path], on_progress: Callable[[int, int], None] | None
) -> Iterator[Iterator[str]]:
    sizes = [file.stat().st_size for file in files]
    num_pieces = 0

    def pieces(file: Path, before: int) -> Iterator[str]:
        nonlocal num_pieces

        def report(read: int) -> None:
            if on_progress is not None:
                on_progress(before + read, sum(sizes))

        for piece in read_text(file, on_bytes=report):
            num_pieces += 1
            yield piece

    for number, file in enumerate(files):
        yield pieces(file, sum(sizes[:number]))
    if not num_pieces:
        raise ValueError(
            "A corpus has at least one character. "
            f"Received: {len(files)} file(s), all empty, the first {str(files[0])!r}. "
            "Name the files that hold the text."
        )


def read_text(path: Path, *, on_bytes: Callable[[int], None] | None = None) -> Iterator[str]:
    """Reads one UTF-8 file in pieces, cut as `read_texts` says.

    Args:
        path: File, decompressed if its name says so.
        on_bytes: Called with the number of bytes read from disk.

    Raises:
        ValueError: If the file is not UTF-8 text, is damaged, or has more than
            64 Mi characters without a place to cut.
    """
    held, is_first = "", True
    for text in _decode(path, on_bytes):
        seen = len(held)
        held += text.removeprefix("\ufeff") if is_first else text
        is_first = is_first and not text
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


def _last_safe_cut(text: str, seen: int) -> int:
    """Returns the last position where text can be cut, or 0.

    Characters before `seen` were searched before; the last of them had no right neighbour then.
    """
    for start in (max(0, len(text) - _TAIL), max(0, seen - 1)):
        cut = max((match.start() for match in _SAFE_CUT.finditer(text, start)), default=0)
        if cut:
            return cut
    return 0


def _decode(path: Path, on_bytes: Callable[[int], None] | None) -> Iterator[str]:
    """Reads and decodes a file block by block, without a thought for where text may be cut."""
    offset, pending, is_last = 0, b"", False
    with path.open("rb") as file, _decompressed(file, path) as stream:
        while not is_last:
            block = _read_block(stream, path)
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


def _not_text(path: Path, raw: bytes, offset: int, index: int) -> ValueError:
    return ValueError(
        "A corpus is UTF-8 text without NUL. "
        f"Received: {path}, with byte 0x{raw[index]:02x} at offset {offset + index}"
        f"{' of its decompressed content' if path.suffix in _OPENERS else ''}. "
        "Convert it (`iconv -t UTF-8`), or leave it out if it is no text."
    )


def _decompressed(file: IO[bytes], path: Path) -> Any:
    """Returns the stream of a file's content, as the ending of its name says."""
    opener = _OPENERS.get(path.suffix)
    return file if opener is None else opener(file)


def _read_block(stream: IO[bytes], path: Path) -> bytes:
    try:
        return stream.read(BLOCK_BYTES)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, not of the content
        raise ValueError(
            f"A file that ends in {path.suffix} is compressed so. "
            f"Received: {path}, which is not or is damaged ({error}). "
            "Fetch it again, or give it its right ending."
        ) from error
