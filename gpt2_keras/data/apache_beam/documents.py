"""The steps of the Beam pipeline that read, encode and select documents."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from gpt2_keras.data.cleaning import cleaned
from gpt2_keras.data.document_encoder import DocumentEncoder
from gpt2_keras.data.documents import Document, read_part
from gpt2_keras.data.files import Opener
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.data.row_fields import Part
from gpt2_keras.data.selection import digest_of, fingerprints_of, validates
from gpt2_keras.data.shard_files import TRAINING, VALIDATION, dtype_of
from gpt2_keras.data.shards import DTYPES
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

_CHUNK_BYTES = 1 << 20  # of ids, moved at a time

Position = tuple[int, int, int]
# Side, number of tokens, fingerprints.
Facts = tuple[str, int, Sequence[bytes]]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """What every worker knows.

    Args:
        paths: The files.
        tokenizer: Makes the ids.
        options: How.
        open_file: Opens a file.
    """

    paths: Sequence[str]
    tokenizer: GPT2Tokenizer
    options: PreparationOptions
    open_file: Opener

    @property
    def dtype(self) -> np.dtype:
        """Type of the ids."""
        return DTYPES[dtype_of(self.tokenizer)]


class EncodeParts(beam.DoFn):
    """Reads the documents of parts of files.

    Gives chunks of ids, `(position, (first token, bytes))`; with the tags
    `documents` and `counts`, `(position, facts)` and `(what, how many)`.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def setup(self) -> None:
        """Makes the encoder, once for each worker."""
        corpus = self._corpus
        self._encoder = DocumentEncoder(corpus.tokenizer, corpus.options, corpus.dtype)

    def process(self, element: tuple[int, Part]) -> Iterator[Any]:
        """Reads one part of a file."""
        number, part = element
        corpus, options = self._corpus, self._corpus.options
        documents = read_part(
            corpus.paths[number],
            number,
            options.input_format,
            options.text_field,
            part=part,
            open_file=corpus.open_file,
        )
        counts = collections.Counter[str]()
        for document in cleaned(documents, options, counts):
            digest = digest_of(document.pieces) if options.needs_digest else b""
            prints = fingerprints_of(digest, document.pieces, options.deduplicate)
            side = VALIDATION if validates(digest, options.validation_fraction) else TRAINING
            num_tokens = 0
            for raw in _joined(self._encode(document, digest)):
                yield document.position, (num_tokens, raw)
                num_tokens += len(raw) // corpus.dtype.itemsize
            facts: Facts = (side, num_tokens, prints)
            yield beam.pvalue.TaggedOutput("documents", (document.position, facts))
        for what, count in counts.items():
            yield beam.pvalue.TaggedOutput("counts", (what, count))

    def _encode(self, document: Document, digest: bytes) -> Iterator[bytes]:
        yield from self._encoder.add(document, digest, "")
        yield self._encoder.finish("")


def _joined(raws: Iterable[bytes]) -> Iterator[bytes]:
    """Joins small pieces."""
    held: list[bytes] = []
    for raw in raws:
        held.append(raw)
        if sum(map(len, held)) >= _CHUNK_BYTES:
            yield b"".join(held)
            held = []
    if held:
        yield b"".join(held)


def without_later(documents: Any) -> Any:
    """Leaves out documents that have a fingerprint in common with one before them."""
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
        | "without later" >> beam.FlatMap(_if_all_first)
    )


# Functions with types, and no lambdas: Beam chooses how to send a tuple by its type.
def _by_fingerprint(item: tuple[Position, Facts]) -> list[tuple[bytes, Position]]:
    position, (_, _, prints) = item
    return [(one, position) for one in prints]


def _one_first(item: tuple[bytes, Position]) -> tuple[Position, int]:
    return item[1], 1


def _if_all_first(item: tuple[Position, Mapping[str, Any]]) -> Iterator[tuple[Position, Facts]]:
    position, groups = item
    (facts,) = groups["documents"]
    if sum(groups["firsts"]) == len(facts[2]):
        yield position, facts
