"""Files of a corpus: opened, decompressed, and of which kind."""

import bz2
import contextlib
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import IO, Any

INPUT_FORMATS = ("text", "jsonl", "csv", "parquet")

FilePath = str | os.PathLike[str]
# Opens a file for reading bytes; a runner on several machines has its own.
Opener = Callable[[FilePath], IO[bytes]]

_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_DECOMPRESSORS: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}


def open_local(path: FilePath) -> IO[bytes]:
    """Opens a file of this machine for reading bytes."""
    return Path(path).open("rb")


def is_compressed(path: FilePath) -> bool:
    """Returns whether a file's name says that it is compressed."""
    return PurePath(path).suffix in _DECOMPRESSORS


def format_of(path: FilePath, input_format: str | None = None) -> str:
    """Returns the format of a file: the one that is given, or by the ending of its name.

    Args:
        path: File; a further ending such as `.gz` does not count.
        input_format: One of `INPUT_FORMATS`.

    Raises:
        ValueError: If the format is none of them.

    Example:
        >>> format_of("reviews.jsonl.gz"), format_of("book.txt")
        ('jsonl', 'text')
    """
    if input_format is None:
        plain = PurePath(path).with_suffix("") if is_compressed(path) else PurePath(path)
        return _SUFFIXES.get(plain.suffix, "text")
    if input_format not in INPUT_FORMATS:
        raise ValueError(
            f"`input_format` must be one of {', '.join(INPUT_FORMATS)}. "
            f"Received: input_format={input_format!r}. Leave it out to go by the file's name."
        )
    return input_format


def decompressed(file: IO[bytes], path: FilePath) -> Any:
    """Returns the stream of a file's content, as the ending of its name says."""
    opener = _DECOMPRESSORS.get(PurePath(path).suffix)
    return file if opener is None else opener(file)


@contextlib.contextmanager
def damage_named(path: FilePath) -> Iterator[None]:
    """Turns what a decompressor raises about a file's content into a ValueError that names it."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, not of the content
        raise ValueError(
            f"A file that ends in {PurePath(path).suffix} is compressed so. "
            f"Received: {path}, which is not or is damaged ({error}). "
            "Fetch it again, or give it its right ending."
        ) from error
