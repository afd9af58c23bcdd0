"""Token shards, made by an Apache Beam pipeline: on one machine or on many."""

import collections
import contextlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import IO, Any

from gpt2_keras.atomic import new_directory
from gpt2_keras.data.files import FilePath, format_of
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.data.rows import parts_of
from gpt2_keras.data.shards import INDEX_NAME
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

try:
    # Beam warns of the clouds that it could not write to.
    logging.disable(logging.WARNING)
    import apache_beam
    from apache_beam.io import filesystem, filesystems
    from apache_beam.options import pipeline_options
except ImportError as error:
    raise ImportError(
        "The Beam runner is Apache Beam's. "
        "Received: no module apache_beam. Run: pip install 'gpt2-keras[beam]'"
    ) from error
finally:
    logging.disable(logging.NOTSET)

from gpt2_keras.data.apache_beam.documents import Corpus
from gpt2_keras.data.apache_beam.shards import write_shards

# Beam's own choice first looks for a program to download.
_DEFAULT_RUNNER = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
_OURS = re.compile(
    r"(?P<kind>ValueError|ImportError|OSError): (?P<message>.*? Received: .*?)"
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
    """Turns files into token shards by a Beam pipeline; the same files as `prepare`, byte for byte.

    The work is shared among workers by files, by 64 MB of an uncompressed JSONL
    file and by row groups of a Parquet file. Each worker needs this package, and
    memory for one shard and for what is known of the documents of one part
    (some 100 bytes each). Files are opened by Beam's `FileSystems`: paths that
    every worker sees, or addresses such as `gs://bucket/pages.jsonl`.

    Args:
        paths, tokenizer, options: As for `prepare`.
        out_dir: Directory to make. A local one appears when everything is written;
            in another file system `index.json` is written last.
        beam_options: Pipeline options, such as `["--runner=FlinkRunner"]`. By
            default the pipeline runs in this process; on more cores with
            `["--direct_num_workers=8", "--direct_running_mode=multi_processing"]`.

    Returns:
        What `index.json` says.

    Raises:
        ImportError: If Apache Beam is not installed, or pyarrow is needed and not.
        FileNotFoundError: If a file is not there.
        TypeError, ValueError, FileExistsError, NotADirectoryError, OSError: As for
            `prepare`.
    """
    options = options or PreparationOptions()
    files = _files(paths)
    corpus = Corpus([path for path, _ in files], tokenizer, options, _open)
    parts = [
        (number, part)
        for number, (path, size) in enumerate(files)
        for part in parts_of(path, format_of(path, options.input_format), size, _open)
    ]
    sources = [(PurePath(path).name, size) for path, size in files]
    words = list(beam_options)
    if not any(word.split("=")[0] == "--runner" for word in words):
        words.append(f"--runner={_DEFAULT_RUNNER}")
    with _new_directory(os.fspath(out_dir)) as folder:
        configured = pipeline_options.PipelineOptions(words)
        with _errors_of_workers(), apache_beam.Pipeline(options=configured) as pipeline:
            write_shards(pipeline, corpus, parts, sources, folder)
        with _open(f"{folder}/{INDEX_NAME}") as file:
            index: dict[str, Any] = json.loads(file.read())
    return index


def _open(path: FilePath) -> IO[bytes]:
    """Opens a file for reading bytes, as they are."""
    uncompressed = filesystem.CompressionTypes.UNCOMPRESSED
    stream: IO[bytes] = filesystems.FileSystems.open(os.fspath(path), compression_type=uncompressed)
    return stream


def _files(paths: Iterable[FilePath]) -> list[tuple[str, int]]:
    """Returns the files of a corpus with their sizes."""
    if isinstance(paths, str | os.PathLike):
        raise TypeError(
            f"`paths` must be several paths. Received: paths={os.fspath(paths)!r}. "
            "Put it into a list."
        )
    names = [os.fspath(path) for path in paths]
    if not names:
        raise ValueError(
            "A corpus has at least one file. Received: paths=[]. Name the files to read."
        )
    # Names are patterns to Beam; a bracket makes a character stand for itself.
    patterns = [re.sub(r"[*?\[]", r"[\g<0>]", name) for name in names]
    found = filesystems.FileSystems.match(patterns)
    missing = [name for name, match in zip(names, found, strict=True) if not match.metadata_list]
    if missing:
        raise FileNotFoundError(
            f"A corpus is made of files. Received: {missing[0]!r}, which is not there. "
            "Check the spelling."
        )
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
    systems = filesystems.FileSystems
    there = systems.match([f"{out.rstrip('/')}/*"])[0].metadata_list
    if there:
        raise FileExistsError(
            "The output must be a new or empty directory; nothing is overwritten. "
            f"Received: {out}, which holds {len(there)} entries. "
            "Name another place, or move it away first."
        )
    yield out.rstrip("/")


@contextlib.contextmanager
def _errors_of_workers() -> Iterator[None]:
    """Raises what a worker found wrong with the input as it would be without workers."""
    log = logging.getLogger("apache_beam.runners.common")  # has the traceback of each error
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    except Exception as error:
        # A runner raises it again with its step, or hands on the traceback as text.
        found = collections.deque(_OURS.finditer(f"{type(error).__name__}: {error}"), maxlen=1)
        if not found:
            raise
        kinds = {"ValueError": ValueError, "ImportError": ImportError, "OSError": OSError}
        raise kinds[found[0]["kind"]](found[0]["message"]) from error
    finally:
        log.setLevel(level)
