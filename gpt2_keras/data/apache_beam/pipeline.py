"""The preparation of token shards by an Apache Beam pipeline, on one machine or many."""

import collections
import contextlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import IO, Any

from gpt2_keras.atomic import new_directory, occupied_directory
from gpt2_keras.data.corpus_files import FilePath, format_of, list_paths, missing_file
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.data.preparation import check_arguments
from gpt2_keras.data.rows import parts_of
from gpt2_keras.data.shards import INDEX_NAME
from gpt2_keras.json_text import parse_json
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer
from gpt2_keras.validation import check_texts

try:
    # Beam warns of cloud storage whose packages are not installed.
    logging.disable(logging.WARNING)
    import apache_beam
    from apache_beam.io import filesystem, filesystems
    from apache_beam.options import pipeline_options
except ImportError as error:
    raise ImportError(
        "There is no module apache_beam, which the Beam runner needs. "
        "Run: pip install 'gpt2-keras[beam]'"
    ) from error
finally:
    logging.disable(logging.NOTSET)

from gpt2_keras.data.apache_beam.documents import CORPUS_ERRORS, Corpus, CorpusError
from gpt2_keras.data.apache_beam.shards import write_shards

# Beam's default runner first looks for a program to download.
_DEFAULT_RUNNER = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
_CORPUS_ERROR = re.compile(
    rf"{CorpusError.__name__}: (?P<name>{'|'.join(CORPUS_ERRORS)}): (?P<message>.*?)"
    r"( \[while running '[^']*'\])?$",
    re.MULTILINE,
)


def prepare_with_beam(
    paths: Iterable[FilePath],
    tokenizer: GPT2Tokenizer,
    out_dir: FilePath,
    options: PreparationOptions | None = None,
    *,
    beam_options: Sequence[str] = (),
) -> dict[str, Any]:
    """Turns files into token shards by a Beam pipeline, byte for byte those of `prepare`.

    The work is divided among workers by files, by 64 MB of an uncompressed JSONL
    file and by row groups of a Parquet file. Each worker needs this package, and
    memory for one shard and for the positions and hashes of the documents of one
    part (about 100 bytes each). Files are opened by Beam's `FileSystems`: paths
    that every worker sees, or addresses such as `gs://bucket/pages.jsonl`.

    Args:
        paths, tokenizer, options: As for `prepare`.
        out_dir: Directory to write, new or empty. A local one appears once everything
            is written; in another file system `index.json` is written last.
        beam_options: Pipeline options, such as `["--runner=FlinkRunner"]`. By
            default the pipeline runs in this process; on more cores with
            `["--direct_num_workers=8", "--direct_running_mode=multi_processing"]`.

    Returns:
        The contents of `index.json`.

    Raises:
        ImportError: If Apache Beam is not installed, or pyarrow is needed and is not.
        FileNotFoundError: If a file does not exist.
        TypeError, ValueError, FileExistsError, NotADirectoryError, OSError: As for
            `prepare`.
    """
    options = check_arguments(tokenizer, out_dir, options)
    words = check_texts("beam_options", beam_options) if beam_options != () else []
    files = _files(paths)
    corpus = Corpus([path for path, _ in files], tokenizer, options, _open)
    parts = [
        (index, part)
        for index, (path, size) in enumerate(files)
        for part in parts_of(path, format_of(path, options.input_format), size, _open)
    ]
    sources = [(PurePath(path).name, size) for path, size in files]
    if not any(word.split("=")[0] == "--runner" for word in words):
        words.append(f"--runner={_DEFAULT_RUNNER}")
    with _new_directory(os.fspath(out_dir)) as folder:
        configured = pipeline_options.PipelineOptions(words)
        with _errors_of_workers(), apache_beam.Pipeline(options=configured) as pipeline:
            write_shards(pipeline, corpus, parts, sources, folder)
        with _open(f"{folder}/{INDEX_NAME}") as file:
            index: dict[str, Any] = parse_json(file.read())
    return index


def _open(path: FilePath) -> IO[bytes]:
    """Opens a file for reading bytes, as they are."""
    uncompressed = filesystem.CompressionTypes.UNCOMPRESSED
    stream: IO[bytes] = filesystems.FileSystems.open(os.fspath(path), compression_type=uncompressed)
    return stream


def _files(paths: Iterable[FilePath]) -> list[tuple[str, int]]:
    """Returns the files of a corpus with their sizes."""
    names = list_paths(paths)
    # Beam reads names as patterns; a character in brackets is not special.
    patterns = [re.sub(r"[*?\[]", r"[\g<0>]", name) for name in names]
    found = filesystems.FileSystems.match(patterns)
    missing = [name for name, match in zip(names, found, strict=True) if not match.metadata_list]
    if missing:
        raise missing_file(missing[0])
    return [
        (name, match.metadata_list[0].size_in_bytes)
        for name, match in zip(names, found, strict=True)
    ]


@contextlib.contextmanager
def _new_directory(out: str) -> Iterator[str]:
    """Yields the directory to write into."""
    if "://" not in out:
        with new_directory(Path(out)) as folder:
            yield str(folder)
        return
    entries = filesystems.FileSystems.match([f"{out.rstrip('/')}/*"])[0].metadata_list
    if entries:
        raise occupied_directory(out, len(entries))
    yield out.rstrip("/")


@contextlib.contextmanager
def _errors_of_workers() -> Iterator[None]:
    """Raises errors of the input that a worker found as `prepare` raises them."""
    log = logging.getLogger("apache_beam.runners.common")  # has the traceback of each error
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    except Exception as error:
        # A runner adds the name of its step to the message, or raises the traceback as text.
        text = f"{type(error).__name__}: {error}"
        found = collections.deque(_CORPUS_ERROR.finditer(text), maxlen=1)
        if not found:
            raise
        raise CORPUS_ERRORS[found[0]["name"]](found[0]["message"]) from error
    finally:
        log.setLevel(level)
