"""Files of a corpus: their paths, their formats, how they are opened and decompressed."""

import bz2
import collections
import contextlib
import glob
import gzip
import lzma
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import IO, Any

from gpt2_keras.validation import check_choice, check_path

INPUT_FORMATS = ("text", "jsonl", "csv", "parquet")
# What makes UTF-8 of the encoding that is found most often; advice of errors.
TO_UTF8 = "for example `iconv -f latin1 -t UTF-8` if it is Latin-1"

FilePath = str | os.PathLike[str]
# Opens a file for reading bytes; a runner on several machines has its own.
Opener = Callable[[FilePath], IO[bytes]]

_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_DECOMPRESSORS: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}


def list_paths(paths: Iterable[FilePath]) -> list[str]:
    """Returns the paths of a corpus as text.

    Raises:
        TypeError: If `paths` is one path, or an entry is not a path.
        ValueError: If there is none.
    """
    if isinstance(paths, str | os.PathLike) or not isinstance(paths, Iterable):
        raise TypeError(
            f"paths={paths!r:.80} is not a list of paths. Use a list, for example ['book.txt']."
        )
    found = [os.fspath(check_path(f"paths[{i}]", path)) for i, path in enumerate(paths)]
    if not found:
        raise ValueError("paths=[] is empty. Name at least one file.")
    return found


def check_paths(paths: Iterable[FilePath]) -> list[Path]:
    """Returns the paths of a corpus, each of which is a file.

    Raises:
        TypeError, ValueError: As for `list_paths`.
        FileNotFoundError: If a file does not exist.
        IsADirectoryError: If a path is a directory.
    """
    files = [Path(path) for path in list_paths(paths)]
    if twice := [file for file, count in collections.Counter(files).items() if count > 1]:
        warnings.warn(
            f"{twice[0]} is named more than once, and is read each time. Name each file once, "
            "unless its texts are to count more.",
            stacklevel=3,
        )
    for file in files:
        if file.is_dir():
            raise IsADirectoryError(
                f"{file} is a directory. Name the files in it, for example {file / '*.txt'}."
            )
        if not file.exists():
            raise missing_file(file)
    return files


def missing_file(path: FilePath) -> FileNotFoundError:
    """Returns the error of a file that does not exist."""
    name = os.fspath(path)
    if glob.has_magic(name):
        return FileNotFoundError(
            f"{name} does not exist, and no file matches it as a pattern of a shell. Check the "
            "spelling; in Python use a list of paths, such as `Path(folder).glob('*.txt')`."
        )
    return FileNotFoundError(f"{name} does not exist. Check the spelling.")


def open_local(path: FilePath) -> IO[bytes]:
    """Opens a file of this machine for reading bytes."""
    return Path(path).open("rb")


def is_compressed(path: FilePath) -> bool:
    """Returns whether the ending of a file's name is that of a compressed file."""
    return PurePath(path).suffix in _DECOMPRESSORS


def check_input_format(input_format: str | None) -> None:
    """Checks the format that a caller gave, None for the one of each file's name.

    Raises:
        TypeError, ValueError: If it is not one of `INPUT_FORMATS`.
    """
    if input_format is not None:
        advice = "Leave it out to use the format of each file's name."
        check_choice("input_format", input_format, INPUT_FORMATS, advice=advice)


def format_of(path: FilePath, input_format: str | None = None) -> str:
    """Returns the format of a file: `input_format` if given, else by the ending of its name.

    Args:
        path: File; a further ending such as `.gz` does not count.
        input_format: One of `INPUT_FORMATS`.

    Raises:
        TypeError, ValueError: If `input_format` is not one of them.

    Example:
        >>> format_of("reviews.jsonl.gz"), format_of("book.txt")
        ('jsonl', 'text')
    """
    check_input_format(input_format)
    if input_format is not None:
        return input_format
    plain = PurePath(path).with_suffix("") if is_compressed(path) else PurePath(path)
    return _SUFFIXES.get(plain.suffix, "text")


def decompressed(file: IO[bytes], path: FilePath) -> Any:
    """Returns the stream of a file's content, decompressed by the ending of its name."""
    opener = _DECOMPRESSORS.get(PurePath(path).suffix)
    return file if opener is None else opener(file)


@contextlib.contextmanager
def decompression_errors(path: FilePath) -> Iterator[None]:
    """Turns the errors of a decompressor into a ValueError that names the file."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, not of the content
        suffix = PurePath(path).suffix
        raise ValueError(
            f"{path} cannot be decompressed: it is damaged or not a {suffix} file ({error}). "
            "Fetch it again, or correct the ending of its name."
        ) from error
