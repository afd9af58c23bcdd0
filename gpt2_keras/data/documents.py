"""Documents of a corpus: text files, and the rows of JSONL, CSV and Parquet files."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

from gpt2_keras.data.corpus_files import (
    FilePath,
    Opener,
    check_input_format,
    check_paths,
    format_of,
    open_local,
)
from gpt2_keras.data.row_fields import WHOLE, FilePart
from gpt2_keras.data.rows import read_rows
from gpt2_keras.data.text_files import read_chunks
from gpt2_keras.validation import check_text

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Document:
    """A text of a corpus.

    Args:
        position: Index of its file, start of the part of the file, and index
            in the part: the order of the corpus.
        path: Its file, for errors.
        chunks: The text in chunks that end at pre-token boundaries, as those of `rechunk`;
            can be read more than once.
    """

    position: tuple[int, int, int]
    path: FilePath
    chunks: Iterable[str]


@dataclasses.dataclass
class TextFile:
    """The chunks of a text file, read again by each iteration."""

    path: FilePath
    on_bytes: Callable[[int], None] | None
    open_file: Opener

    def __iter__(self) -> Iterator[str]:
        return read_chunks(self.path, on_bytes=self.on_bytes, open_file=self.open_file)


def read_texts(
    paths: Iterable[FilePath],
    *,
    input_format: str | None = None,
    text_field: str | None = None,
    on_progress: Progress | None = None,
) -> Iterator[str]:
    """Reads the texts of files in chunks, one after the other.

    A text file is one document; of JSONL, CSV and Parquet files each row is one.
    The token ids of the chunks of a document, joined, are those of the document: it
    is only split where GPT-2's pattern starts a new pre-token. Line ends are kept as
    they are; a byte order mark at the start of a file is left out.

    Args:
        paths: UTF-8 files; those that end in `.gz`, `.bz2` or `.xz` are
            decompressed.
        input_format: `"text"`, `"jsonl"`, `"csv"` or `"parquet"`. By default the
            endings `.jsonl`, `.ndjson`, `.csv` and `.parquet` tell it, and all
            other files are text.
        text_field: The field of a row that has its text. By default `text`; of
            CSV the first column.
        on_progress: Called with the number of bytes read and of all bytes, as
            they are on disk.

    Returns:
        Chunks of about a quarter of a megabyte, or whole rows, none of them empty.
        Text without a pre-token boundary is kept whole, up to 64 Mi characters.

    Raises:
        TypeError: If `paths` is one path, or an argument is of a wrong type.
        ValueError: If no path is given, or the format is unknown. While reading:
            if a file is not UTF-8 text or not of its format, is damaged, or
            cannot be split, or if all files are empty.
        FileNotFoundError: If a file does not exist.
        IsADirectoryError: If a path is a directory.
        ImportError: If pyarrow is needed and not installed.
    """
    check_input_format(input_format)
    if text_field is not None:
        check_text("text_field", text_field)
    check_progress(on_progress)
    files = check_paths(paths)
    documents = read_documents(files, input_format, text_field, on_progress=on_progress)
    return _chunks_of(documents, files)


def check_progress(on_progress: Progress | None) -> None:
    """Raises a TypeError if `on_progress` is neither a function nor None."""
    if on_progress is not None and not callable(on_progress):
        raise TypeError(
            f"on_progress={on_progress!r:.80} cannot be called. Use a function of two integers."
        )


def _chunks_of(documents: Iterable[Document], files: Sequence[FilePath]) -> Iterator[str]:
    """Yields all chunks; raises an error at the end if there was none."""
    is_empty = True
    for document in documents:
        for chunk in filter(None, document.chunks):
            is_empty = False
            yield chunk
    if is_empty:
        raise empty_corpus(files)


def empty_corpus(files: Sequence[FilePath]) -> ValueError:
    """Returns the error of a corpus without a character."""
    return ValueError(
        f"The {len(files)} file(s) of the corpus are all empty, the first {str(files[0])!r}. "
        "Name files with at least one character of text."
    )


def read_documents(
    files: Sequence[FilePath],
    input_format: str | None = None,
    text_field: str | None = None,
    *,
    on_progress: Progress | None = None,
) -> Iterator[Document]:
    """Reads files of this machine as `read_texts` does, document by document."""
    sizes = [check_paths([file])[0].stat().st_size for file in files]
    for index, file in enumerate(files):
        on_bytes = _reporter(on_progress, sum(sizes[:index]), sizes)
        yield from read_part(file, index, input_format, text_field, on_bytes=on_bytes)


def read_part(
    file: FilePath,
    index: int,
    input_format: str | None,
    text_field: str | None,
    *,
    part: FilePart = WHOLE,
    on_bytes: Callable[[int], None] | None = None,
    open_file: Opener = open_local,
) -> Iterator[Document]:
    """Reads the documents of a part of a file.

    Args:
        file: File.
        index: Its index among the files.
        input_format, text_field: As for `read_texts`.
        part: One of `parts_of`.
        on_bytes: Called with the number of bytes read from disk.
        open_file: Opens the file.
    """
    found_format = format_of(file, input_format)
    if found_format == "text":
        yield Document((index, 0, 0), file, TextFile(file, on_bytes, open_file))
        return
    fields = None if text_field is None else {"text_field": text_field}
    rows = read_rows(file, found_format, fields, part=part, on_bytes=on_bytes, open_file=open_file)
    for row, (text,) in enumerate(rows):
        yield Document((index, part[0], row), file, (text,))


def _reporter(
    on_progress: Progress | None, before: int, sizes: Sequence[int]
) -> Callable[[int], None] | None:
    """Returns a function that reports the bytes read of a file, the furthest of all readings."""
    if on_progress is None:
        return None
    furthest = 0

    def report(read: int) -> None:
        nonlocal furthest
        furthest = max(furthest, read)
        on_progress(before + furthest, sum(sizes))

    return report
