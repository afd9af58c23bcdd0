"""The steps of the Apache Beam pipeline that write token shards.

Documents are encoded where they are read. Then their hashes are compared, and their numbers of
tokens are summed, which gives the position of the first token of each; last, the tokens are
grouped by shard and written.
"""

import collections
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io import filesystem, filesystems

from gpt2_keras.data.apache_beam.documents import (
    Corpus,
    EncodeParts,
    Facts,
    Position,
    corpus_errors,
    without_duplicates,
)
from gpt2_keras.data.row_fields import FilePart
from gpt2_keras.data.shard_files import TRAINING, VALIDATION, index_text, shard_entry, shard_name
from gpt2_keras.data.shards import INDEX_NAME

PartKey = tuple[int, int]  # the position of a document without the row
# Side and number of a shard.
Shard = tuple[str, int]


def write_shards(
    pipeline: Any,
    corpus: Corpus,
    parts: Sequence[tuple[int, FilePart]],
    sources: Sequence[tuple[str, int]],
    folder: str,
) -> None:
    """Adds the steps from parts of files to shards and their index.

    Args:
        pipeline: The pipeline.
        corpus: The corpus.
        parts: Index of the file and part, for every part of the corpus.
        sources: Name and size of each file, for the index.
        folder: Directory to write into.
    """
    options = corpus.options
    read = (
        pipeline
        | "parts" >> beam.Create(parts)
        | "spread" >> beam.Reshuffle()
        | "encode"
        >> beam.ParDo(EncodeParts(corpus)).with_outputs("documents", "counts", main="ids")
    )
    kept = without_duplicates(read.documents) if options.deduplicate else read.documents
    totals = (
        kept
        | "tokens of parts" >> beam.Map(_tokens_of_part)
        | "add tokens" >> beam.CombinePerKey(sum)
    )
    positions = (
        kept
        | "by part" >> beam.Map(_by_part)
        | "group parts" >> beam.GroupByKey()
        | "positions" >> beam.FlatMap(_first_positions, totals=beam.pvalue.AsDict(totals))
    )
    entries = (
        {"ids": read.ids, "positions": positions}
        | "join" >> beam.CoGroupByKey()
        | "split" >> beam.FlatMap(_split_by_shard, options.shard_tokens, corpus.dtype.itemsize)
        | "group shards" >> beam.GroupByKey()
        | "write" >> beam.Map(_write_shard, folder, corpus.dtype.itemsize)
    )
    counts = (
        (
            read.counts,
            read.documents | "count read" >> beam.Map(_one_read),
            kept | "count sides" >> beam.Map(_one_kept),
        )
        | "all counts" >> beam.Flatten()
        | "add counts" >> beam.CombinePerKey(sum)
    )
    _ = (
        pipeline
        | "once" >> beam.Create([None])
        | "index"
        >> beam.Map(
            _write_index,
            corpus,
            sources,
            folder,
            entries=beam.pvalue.AsList(entries),
            counts=beam.pvalue.AsDict(counts),
        )
    )


def _one_read(_: tuple[Position, Facts]) -> tuple[str, int]:
    return "read", 1


def _one_kept(item: tuple[Position, Facts]) -> tuple[str, int]:
    return item[1][0], 1


def _tokens_of_part(item: tuple[Position, Facts]) -> tuple[tuple[PartKey, str], int]:
    (index, start, _), (side, num_tokens, _) = item
    return ((index, start), side), num_tokens


def _by_part(item: tuple[Position, Facts]) -> tuple[PartKey, tuple[int, str, int]]:
    (index, start, row), (side, num_tokens, _) = item
    return (index, start), (row, side, num_tokens)


def _first_positions(
    item: tuple[PartKey, Iterable[tuple[int, str, int]]], totals: Mapping[tuple[PartKey, str], int]
) -> Iterator[tuple[Position, tuple[str, int]]]:
    """Yields the side of each document of a part, and the position there of its first token."""
    part, documents = item
    position = collections.Counter[str]()
    for (other, side), num_tokens in totals.items():
        position[side] += num_tokens if other < part else 0
    for row, side, num_tokens in sorted(documents):
        yield (*part, row), (side, position[side])
        position[side] += num_tokens


def _split_by_shard(
    item: tuple[Position, Mapping[str, Any]], shard_tokens: int, item_bytes: int
) -> Iterator[tuple[Shard, tuple[int, bytes]]]:
    """Yields the ids of a document by shard, with their offset there."""
    _, groups = item
    for side, first in groups["positions"]:  # none, if the document is left out
        for start, raw in groups["ids"]:
            position = first + start
            while raw:
                shard, offset = divmod(position, shard_tokens)
                room = (shard_tokens - offset) * item_bytes
                yield (side, shard), (offset, raw[:room])
                position, raw = position + shard_tokens - offset, raw[room:]


def _write_shard(
    item: tuple[Shard, Iterable[tuple[int, bytes]]], folder: str, item_bytes: int
) -> tuple[Shard, dict[str, Any]]:
    """Writes a shard; returns its entry in the index."""
    (side, number), chunks = item
    name = shard_name(side, number)
    raw = b"".join(ids for _, ids in sorted(chunks))
    _write(f"{folder}/{name}", raw)
    entry = shard_entry(name, len(raw) // item_bytes, hashlib.sha256(raw).hexdigest())
    return (side, number), entry


def _write_index(
    _: None,
    corpus: Corpus,
    sources: Sequence[tuple[str, int]],
    folder: str,
    entries: Sequence[tuple[Shard, dict[str, Any]]],
    counts: Mapping[str, int],
) -> None:
    shards: dict[str, list[dict[str, Any]]] = {TRAINING: [], VALIDATION: []}
    for (side, _number), entry in sorted(entries, key=lambda item: item[0]):
        shards[side].append(entry)
    found = collections.Counter(dict(counts))
    found["duplicates"] = found["read"] - found[TRAINING] - found[VALIDATION]
    with corpus_errors():
        text = index_text(corpus.tokenizer, corpus.options, shards, found, sources)
    _write(f"{folder}/{INDEX_NAME}", text.encode("utf-8"))


def _write(path: str, raw: bytes) -> None:
    uncompressed = filesystem.CompressionTypes.UNCOMPRESSED
    with filesystems.FileSystems.create(path, compression_type=uncompressed) as file:
        file.write(raw)
