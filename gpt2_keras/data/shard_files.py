"""The files of token shards, as they are written: names, index and a writer."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from gpt2_keras.data.documents import empty_corpus
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.data.shards import FORMAT, FORMAT_VERSION
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

TRAINING, VALIDATION = "tokens", "validation"  # prefixes of the shards' file names


def dtype_of(tokenizer: GPT2Tokenizer) -> str:
    """Returns the name of the smallest dtype that holds the ids of a tokenizer."""
    return "uint16" if tokenizer.vocab_size <= 2**16 else "uint32"


def shard_name(side: str, number: int) -> str:
    """Returns the name of a shard file.

    Example:
        >>> shard_name(VALIDATION, 3)
        'validation-00003.bin'
    """
    return f"{side}-{number:05d}.bin"


def shard_entry(name: str, num_tokens: int, sha256: str) -> dict[str, Any]:
    """Returns the entry of a shard in `index.json`."""
    return {"file": name, "num_tokens": num_tokens, "sha256": sha256}


def index_text(
    tokenizer: GPT2Tokenizer,
    options: PreparationOptions,
    shards: dict[str, list[dict[str, Any]]],
    counts: Mapping[str, int],
    sources: Sequence[tuple[str, int]],
) -> str:
    """Returns the text of `index.json`.

    Args:
        tokenizer: The tokenizer that made the ids.
        options: The options of the preparation.
        shards: `shard_entry` of each shard, for `TRAINING` and `VALIDATION`.
        counts: Numbers of documents of each side, and of those left out as
            `duplicates` and `short`.
        sources: Name and number of bytes of each file.

    Raises:
        ValueError: If no document is left, or none on one side of a split.
    """
    _check_counts(options, counts, sources)
    num_tokens = {side: sum(one["num_tokens"] for one in made) for side, made in shards.items()}
    index = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "dtype": dtype_of(tokenizer),
        "vocab_size": tokenizer.vocab_size,
        "num_tokens": sum(num_tokens.values()),
        "shards": [*shards[TRAINING], *shards[VALIDATION]],
        "tokenizer": tokenizer.fingerprint,
        "end_of_text": options.end_of_text,
        "documents": {
            "training": counts[TRAINING],
            "validation": counts[VALIDATION],
            "duplicates": counts["duplicates"],
            "short": counts["short"],
        },
        "options": options.to_json(),
        "sources": [{"file": name, "bytes": size} for name, size in sources],
    }
    if options.validation_fraction is not None:
        index["split"] = {
            "validation_fraction": options.validation_fraction,
            "num_training_tokens": num_tokens[TRAINING],
        }
    return json.dumps(index, indent=2) + "\n"


def _check_counts(
    options: PreparationOptions, counts: Mapping[str, int], sources: Sequence[tuple[str, int]]
) -> None:
    """Raises an error of a corpus without documents, or without those of a side."""
    sides = counts[TRAINING], counts[VALIDATION]
    if not any(sides) and not options.min_characters:
        raise empty_corpus([name for name, _ in sources])
    if not any(sides):
        raise ValueError(
            f"min_characters={options.min_characters} leaves out all {counts['short']} "
            "document(s), which are shorter. Use a smaller number."
        )
    if options.validation_fraction is not None and not all(sides):
        raise ValueError(
            f"validation_fraction={options.validation_fraction} leaves {sides[0]} document(s) to "
            f"train on and {sides[1]} to validate on, and each side needs at least one. Use "
            "another fraction, or leave it out: training then validates on the last tokens."
        )


class ShardWriter:
    """Writes token ids into files of at most `shard_tokens` each.

    Args:
        folder: Directory of the files.
        side: Prefix of their names.
        dtype: Integer type of the ids.
        shard_tokens: Largest number of ids in a file.
    """

    def __init__(self, folder: Path, side: str, dtype: np.dtype, shard_tokens: int) -> None:
        self._folder, self._side = folder, side
        self._item_bytes, self._shard_bytes = dtype.itemsize, shard_tokens * dtype.itemsize
        self._file: io.FileIO | None = None
        self._room = 0
        self.shards: list[dict[str, Any]] = []

    def write(self, raw: bytes) -> None:
        """Appends token ids, given as the bytes of an array."""
        while raw:
            if self._file is None:
                self._open_next()
            part, raw = raw[: self._room], raw[self._room :]
            self._append(part)
            self._room -= len(part)
            self.shards[-1]["num_tokens"] += len(part) // self._item_bytes
            if not self._room:
                self.close()

    def _open_next(self) -> None:
        name = shard_name(self._side, len(self.shards))
        self._file = (self._folder / name).open("wb", buffering=0)
        self._hash, self._room = hashlib.sha256(), self._shard_bytes
        self.shards.append(shard_entry(name, 0, ""))

    def _append(self, raw: bytes) -> None:
        assert self._file is not None  # noqa: S101 -- tells the type checker
        try:
            written = 0
            while written < len(raw):  # a nearly full disk accepts a part
                written += self._file.write(raw[written:])
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}: a token shard could not be written, and nothing was kept. "
                "Free some disk space, or name another directory. The file was",
                self._file.name,
            ) from error
        self._hash.update(raw)

    def close(self) -> None:
        """Closes the current file and records its hash."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self.shards[-1]["sha256"] = self._hash.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
