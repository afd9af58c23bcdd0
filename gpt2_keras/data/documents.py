"""Documents of a corpus: text files, and the rows of JSONL, CSV and Parquet files."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

from gpt2_keras.data.files import FilePath, Opener, format_of, open_local
from gpt2_keras.data.row_fields import WHOLE, Part
from gpt2_keras.data.rows import read_rows
from gpt2_keras.data.text import check_paths, read_text

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Document:
    """A text of a corpus.

    Args:
        position: Number of its file, start of the part of the file, and number
            in the part: the order of the corpus.
        path: Its file, for errors.
        pieces: The text in pieces, cut as `cut_safely` does; can be read again.
    """

    position: tuple[int, int, int]
    path: FilePath
    pieces: Iterable[str]


@dataclasses.dataclass
class TextFile:
    """The pieces of a text file, read anew each time; progress is that of the furthest."""

    path: FilePath
    on_bytes: Callable[[int], None] | None
    open_file: Opener

    def __iter__(self) -> Iterator[str]:
        return read_text(self.path, on_bytes=self.on_bytes, open_file=self.open_file)


def read_texts(
    paths: Iterable[FilePath],
    *,
    input_format: str | None = None,
    text_field: str | None = None,
    on_progress: Progress | None = None,
) -> Iterator[str]:
    """Reads the texts of files in pieces, one after the other.

    A text file is one document; of JSONL, CSV and Parquet files each row is one.
    The token ids of the pieces of a document, put together, are those of the
    document: it is only cut where GPT-2's pattern starts a new piece. Line ends
    are kept as they are; a byte order mark at the start of a file is left out.

    Args:
        paths: UTF-8 files; those that end in `.gz`, `.bz2` or `.xz` are
            decompressed.
        input_format: `"text"`, `"jsonl"`, `"csv"` or `"parquet"`; by default told
            by the endings `.jsonl`, `.ndjson`, `.csv` and `.parquet`, all others
            being text.
        text_field: The field of a row that has its text. By default `text`; of
            CSV the first column.
        on_progress: Called with the number of bytes read and of all bytes, as
            they are on disk.

    Returns:
        Pieces of a quarter of a megabyte or so, or whole rows, none of them
        empty. Text with no place to cut is kept whole, up to 64 Mi characters.

    Raises:
        TypeError: If `paths` is one path.
        ValueError: If no path is given, or the format is unknown. While reading:
            if a file is not UTF-8 text or not of its format, is damaged, or
            cannot be cut, or if all files are empty.
        FileNotFoundError: If a file is not there.
        IsADirectoryError: If a path is a directory.
        ImportError: If pyarrow is needed and not there.
    """
    files = check_paths(paths)
    for file in files:
        format_of(file, input_format)
    return _pieces_of(files, input_format, text_field, on_progress)


def _pieces_of(
    files: Sequence[FilePath],
    input_format: str | None,
    text_field: str | None,
    on_progress: Progress | None,
) -> Iterator[str]:
    """Yields all pieces; refuses to end without one."""
    num_pieces = 0
    for document in read_documents(files, input_format, text_field, on_progress=on_progress):
        for piece in filter(None, document.pieces):
            num_pieces += 1
            yield piece
    if not num_pieces:
        raise empty_corpus(files)


def empty_corpus(files: Sequence[FilePath]) -> ValueError:
    """Returns the error of a corpus without a character."""
    return ValueError(
        "A corpus has at least one character. "
        f"Received: {len(files)} file(s), all empty, the first {str(files[0])!r}. "
        "Name the files that hold the text."
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
    for number, file in enumerate(files):
        before = sum(sizes[:number])
        yield from read_part(
            file, number, input_format, text_field, on_bytes=_reporter(on_progress, before, sizes)
        )


def read_part(
    file: FilePath,
    number: int,
    input_format: str | None,
    text_field: str | None,
    *,
    part: Part = WHOLE,
    on_bytes: Callable[[int], None] | None = None,
    open_file: Opener = open_local,
) -> Iterator[Document]:
    """Reads the documents of a part of a file.

    Args:
        file: File.
        number: Its place among the files.
        input_format, text_field: As for `read_texts`.
        part: One of `parts_of`.
        on_bytes: Called with the number of bytes read from disk.
        open_file: Opens the file.
    """
    kind = format_of(file, input_format)
    if kind == "text":
        yield Document((number, 0, 0), file, TextFile(file, on_bytes, open_file))
        return
    fields = None if text_field is None else [text_field]
    rows = read_rows(file, kind, fields, part=part, on_bytes=on_bytes, open_file=open_file)
    for row, (text,) in enumerate(rows):
        yield Document((number, part[0], row), file, (text,))


def _reporter(
    on_progress: Progress | None, before: int, sizes: Sequence[int]
) -> Callable[[int], None] | None:
    """Returns what reports the bytes read of a file, never fewer than before."""
    if on_progress is None:
        return None
    furthest = 0

    def report(read: int) -> None:
        nonlocal furthest
        furthest = max(furthest, read)
        on_progress(before + furthest, sum(sizes))

    return report
