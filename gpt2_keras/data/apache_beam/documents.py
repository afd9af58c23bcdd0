"""The steps of the Apache Beam pipeline that read, encode and select documents."""

import collections
import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from gpt2_keras.data.cleaning import clean_documents
from gpt2_keras.data.corpus_files import Opener
from gpt2_keras.data.document_encoder import DocumentEncoder
from gpt2_keras.data.documents import Document, read_part
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.data.row_fields import FilePart
from gpt2_keras.data.selection import select
from gpt2_keras.data.shard_files import TRAINING, VALIDATION, dtype_of
from gpt2_keras.data.shards import DTYPES
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

_CHUNK_BYTES = 1 << 20  # of ids in one element of the pipeline

Position = tuple[int, int, int]  # of a document, see `Document`
# Of a document: side, number of tokens, fingerprints.
Facts = tuple[str, int, Sequence[bytes]]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The files of a corpus and how to prepare them, known to every worker.

    Args:
        paths: The files.
        tokenizer: Encodes the texts.
        options: The options of the preparation.
        open_file: Opens a file.
    """

    paths: Sequence[str]
    tokenizer: GPT2Tokenizer
    options: PreparationOptions
    open_file: Opener

    @property
    def dtype(self) -> np.dtype:
        """Integer type of the ids."""
        return DTYPES[dtype_of(self.tokenizer)]


CORPUS_ERRORS = {"ValueError": ValueError, "ImportError": ImportError, "OSError": OSError}


_CORPUS_ERRORS: tuple[type[Exception], ...] = tuple(CORPUS_ERRORS.values())


class CorpusError(Exception):
    """An error of the input, found by a worker: the name of its type, `: ` and its message.

    A runner may return a worker's error as the text of a traceback, in which the name of this
    class marks the message.
    """


@contextlib.contextmanager
def corpus_errors() -> Iterator[None]:
    """Turns errors of the input into a `CorpusError`."""
    try:
        yield
    except _CORPUS_ERRORS as error:
        name = next(one for one, found in CORPUS_ERRORS.items() if isinstance(error, found))
        raise CorpusError(f"{name}: {error}") from error


class EncodeParts(beam.DoFn):
    """Reads and encodes the documents of parts of files.

    Yields chunks of ids, `(position, (index of the first token, bytes))`; with the tags
    `documents` and `counts`, `(position, facts)` and `(name, count)`.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def setup(self) -> None:
        """Creates the encoder, once for each worker."""
        corpus = self._corpus
        self._encoder = DocumentEncoder(corpus.tokenizer, corpus.options, corpus.dtype)

    def process(self, element: tuple[int, FilePart]) -> Iterator[Any]:
        """Reads one part of a file."""
        with corpus_errors():
            yield from self._process(*element)

    def _process(self, index: int, part: FilePart) -> Iterator[Any]:
        corpus, options = self._corpus, self._corpus.options
        documents = read_part(
            corpus.paths[index],
            index,
            options.input_format,
            options.text_field,
            part=part,
            open_file=corpus.open_file,
        )
        counts = collections.Counter[str]()
        for document in clean_documents(documents, options, counts):
            digest, fingerprints, is_validation = select(document.chunks, options)
            side = VALIDATION if is_validation else TRAINING
            num_tokens = 0
            for raw in _joined(self._encode(document, digest)):
                yield document.position, (num_tokens, raw)
                num_tokens += len(raw) // corpus.dtype.itemsize
            facts: Facts = (side, num_tokens, fingerprints)
            yield beam.pvalue.TaggedOutput("documents", (document.position, facts))
        for name, count in counts.items():
            yield beam.pvalue.TaggedOutput("counts", (name, count))

    def _encode(self, document: Document, digest: bytes) -> Iterator[bytes]:
        yield from self._encoder.add(document, digest, "")
        yield self._encoder.finish("")


def _joined(raws: Iterable[bytes]) -> Iterator[bytes]:
    """Joins small chunks."""
    held: list[bytes] = []
    for raw in raws:
        held.append(raw)
        if sum(map(len, held)) >= _CHUNK_BYTES:
            yield b"".join(held)
            held = []
    if held:
        yield b"".join(held)


def without_duplicates(documents: Any) -> Any:
    """Leaves out documents that have a fingerprint of an earlier one."""
    firsts = (
        documents
        | "fingerprints" >> beam.FlatMap(_by_fingerprint)
        | "first of each" >> beam.CombinePerKey(min)
        | "by document" >> beam.Map(_one_first)
        | "firsts of each" >> beam.CombinePerKey(sum)
    )
    return (
        {"documents": documents, "firsts": firsts}
        | "compare" >> beam.CoGroupByKey()
        | "without duplicates" >> beam.FlatMap(_if_all_first)
    )


# Functions with types, not lambdas: Beam chooses the encoding of a tuple by its type.
def _by_fingerprint(item: tuple[Position, Facts]) -> list[tuple[bytes, Position]]:
    position, (_, _, fingerprints) = item
    return [(one, position) for one in fingerprints]


def _one_first(item: tuple[bytes, Position]) -> tuple[Position, int]:
    return item[1], 1


def _if_all_first(item: tuple[Position, Mapping[str, Any]]) -> Iterator[tuple[Position, Facts]]:
    position, groups = item
    (facts,) = groups["documents"]
    if sum(groups["firsts"]) == len(facts[2]):
        yield position, facts
