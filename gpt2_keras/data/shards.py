"""Token shards: a corpus as token ids on disk, memory-mapped.

A directory of

    tokens-00000.bin, …   token ids: little-endian unsigned integers of 2 bytes
                          (of 4, if the vocabulary has more than 65,536 tokens),
                          without a header
    index.json            their description: format, version, dtype, vocab_size,
                          num_tokens, shards (file, num_tokens, sha256),
                          tokenizer (its fingerprint), end_of_text, documents
                          (counts), options, sources; split, if there is one
                          (validation_fraction, num_training_tokens)

Documents come in the order of the files, and end with the id of `<|endoftext|>`.
If the corpus was split, those to validate on come last, in separate files
(validation-00000.bin, …).
"""

import bisect
import itertools
import operator
import os
from pathlib import Path
from typing import Any, Self

import numpy as np

from gpt2_keras.data.token_source import TokenSource, TokenView, slice_bounds, split_tokens
from gpt2_keras.hashing import file_sha256
from gpt2_keras.json_text import parse_json
from gpt2_keras.validation import check_path

FORMAT = "gpt2_keras.token_shards"
FORMAT_VERSION = 1
INDEX_NAME = "index.json"
DEFAULT_VALIDATION_FRACTION = 0.1
DTYPES: dict[str, np.dtype] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}


class TokenShards:
    """Token ids on disk, memory-mapped.

    Written by `prepare` and opened by `TokenShards.open`. It has a length and
    slices, `tokens[start:stop]`, which are read-only arrays.

    Args:
        directory: Folder of the shards.
        index: Contents of `index.json`.
        shards: Token ids of each shard, 1-D arrays of integers.
    """

    def __init__(self, directory: Path, index: dict[str, Any], shards: list[np.ndarray]) -> None:
        self.directory, self._index, self._shards = directory, index, shards
        self._ends = list(itertools.accumulate(len(shard) for shard in shards))

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> Self:
        """Opens the token shards of a directory; reads the index only.

        Args:
            directory: Folder that `prepare` wrote.

        Raises:
            TypeError: If `directory` is not a path.
            FileNotFoundError: If the index or a shard does not exist.
            ValueError: If the index is damaged or of another format, or a shard
                has another size than the index records.
        """
        folder = Path(check_path("directory", directory))
        index = _read_index(folder)
        dtype = DTYPES[index["dtype"]]
        shards = [_map_shard(folder / shard["file"], dtype, shard) for shard in index["shards"]]
        return cls(folder, index, shards)

    @property
    def vocab_size(self) -> int:
        """Number of token ids of the tokenizer that made the shards."""
        return int(self._index["vocab_size"])

    @property
    def fingerprint(self) -> str:
        """The `fingerprint` of the tokenizer that made the shards."""
        return str(self._index["tokenizer"])

    @property
    def index(self) -> dict[str, Any]:
        """Contents of `index.json`."""
        return dict(self._index)

    def split(self, validation_fraction: float | None = None) -> tuple[TokenSource, TokenSource]:
        """Splits into a part for training and a part for validation.

        If the corpus was prepared with a `validation_fraction`, these are the
        documents that were chosen then. Otherwise see `split_tokens`.

        Args:
            validation_fraction: Fraction of the tokens in the last part; by default 0.1.
                Only for a corpus that was prepared without one.

        Raises:
            TypeError: If the fraction is not a number.
            ValueError: If the fraction is out of range or leaves a part empty, or
                the corpus was split already.
        """
        split = self._index.get("split")
        if split is None:
            fraction = validation_fraction
            return split_tokens(self, DEFAULT_VALIDATION_FRACTION if fraction is None else fraction)
        if validation_fraction is not None:
            raise ValueError(
                f"validation_fraction={validation_fraction} cannot split {self.directory} again: "
                f"it was prepared with validation_fraction={split['validation_fraction']}. "
                "Leave the argument out."
            )
        middle = split["num_training_tokens"]
        return TokenView(self, 0, middle), TokenView(self, middle, len(self))

    def verify(self) -> None:
        """Compares the SHA-256 of every shard with the index.

        Raises:
            ValueError: If one differs.
        """
        for shard in self._index["shards"]:
            path = self.directory / shard["file"]
            found = file_sha256(path)
            if found != shard["sha256"]:
                raise ValueError(
                    f"{path} has the SHA-256 {found}, and {INDEX_NAME} records "
                    f"{shard['sha256']}: the file was changed. Prepare the corpus again."
                )

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, key: slice) -> np.ndarray:
        start, stop = slice_bounds(key, len(self))
        first = bisect.bisect_right(self._ends, start)
        if first == len(self._shards):
            return self._shards[-1][:0]
        before = self._ends[first - 1] if first else 0
        if stop <= self._ends[first]:  # in one shard, nearly always
            return self._shards[first][start - before : stop - before]
        parts = []
        while start < stop:
            end = min(stop, self._ends[first])
            parts.append(self._shards[first][start - before : end - before])
            start, before, first = end, self._ends[first], first + 1
        return np.concatenate(parts)

    def __repr__(self) -> str:
        return f"TokenShards({str(self.directory)!r}, {len(self)} tokens)"


def _read_index(folder: Path) -> dict[str, Any]:
    """Reads and checks `index.json`."""
    path = folder / INDEX_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} {f'has no {INDEX_NAME}' if folder.is_dir() else 'is not a directory'}. "
            "Name a directory of token shards, written by `gpt2-keras prepare`."
        )
    try:
        index = parse_json(path.read_text(encoding="utf-8"))
        found = (index["format"], index["version"])
        total = sum(operator.index(shard["num_tokens"]) for shard in index["shards"])
        is_whole = index["dtype"] in DTYPES and total == index["num_tokens"] > 0
        middle = index["split"]["num_training_tokens"] if "split" in index else total
        is_whole = is_whole and 0 < operator.index(middle) <= total and index["tokenizer"] != ""
        is_whole = is_whole and operator.index(index["vocab_size"]) > 0
        is_whole = is_whole and all(map(_is_entry, index["shards"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not an index of token shards ({type(error).__name__}: {error}). "
            "Prepare the corpus again."
        ) from error
    if found != (FORMAT, FORMAT_VERSION) or not is_whole:
        raise ValueError(
            f"{path} has format {found[0]!r}, version {found[1]!r}, dtype {index['dtype']!r}, "
            f"num_tokens {index['num_tokens']} with {total} in the shards, or lacks a field. "
            f"Readable is {FORMAT!r}, version {FORMAT_VERSION}. Prepare the corpus again."
        )
    return dict(index)


def _is_entry(shard: dict[str, Any]) -> bool:
    """Returns whether an entry of an index names a file beside it, its tokens and its SHA-256."""
    name = shard["file"]
    is_name = isinstance(name, str) and name not in ("", "..") and Path(name).name == name
    return is_name and shard["num_tokens"] > 0 and isinstance(shard["sha256"], str)


def _map_shard(path: Path, dtype: np.dtype, shard: dict[str, Any]) -> np.ndarray:
    """Maps one shard into memory."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist, and {INDEX_NAME} lists it. Prepare the corpus again."
        )
    expected, found = shard["num_tokens"] * dtype.itemsize, path.stat().st_size
    if expected != found:
        raise ValueError(
            f"{path} has {found} bytes, and {INDEX_NAME} records {expected}: the file was "
            "truncated or changed. Prepare the corpus again."
        )
    # A plain array: slices of np.memmap cost several times as much.
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))
