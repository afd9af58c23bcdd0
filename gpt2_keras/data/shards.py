"""Token shards: a corpus as token ids on disk, memory-mapped.

A directory of

    tokens-00000.bin, …   token ids, one after the other: little-endian
                          unsigned integers of 2 bytes (of 4, if the vocabulary
                          has more than 65,536 tokens), no header
    index.json            what they are: format, version, dtype, vocab_size,
                          num_tokens, shards (file, num_tokens, sha256),
                          tokenizer (its fingerprint), end_of_text, documents
                          (how many), options, sources; split, if there is one
                          (validation_fraction, num_training_tokens)

Documents come in the order of the files, and end with the id of `<|endoftext|>`.
If the corpus was split, those to validate on come last, in files of their own
(validation-00000.bin, …).
"""

import bisect
import itertools
import json
import operator
import os
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from gpt2_keras.hashing import file_sha256

FORMAT = "gpt2_keras.token_shards"
FORMAT_VERSION = 1
INDEX_NAME = "index.json"
DEFAULT_VALIDATION_FRACTION = 0.1
DTYPES: dict[str, np.dtype] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}


class TokenSource(Protocol):
    """Token ids in a row: an array, or something on disk that is sliced like one."""

    def __len__(self) -> int:
        """Returns the number of token ids."""
        ...

    def __getitem__(self, key: slice, /) -> Any:
        """Returns the token ids of a slice as an integer array."""
        ...


class TokenView:
    """A run of a token source, which is itself one.

    Args:
        tokens: The source.
        start: Position of the first token.
        stop: Position after the last token.
    """

    def __init__(self, tokens: TokenSource, start: int, stop: int) -> None:
        self._tokens, self._start, self._stop = tokens, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, key: slice) -> Any:
        start, stop = _bounds(key, len(self))
        return self._tokens[self._start + start : self._start + stop]

    def __repr__(self) -> str:
        return f"TokenView({self._tokens!r}, {self._start}, {self._stop})"


def split_tokens(
    tokens: TokenSource, validation_fraction: float
) -> tuple[TokenSource, TokenSource]:
    """Splits tokens into a first part to train on and a last part to validate on.

    Args:
        tokens: Token ids.
        validation_fraction: Share of the last part, above 0 and below 1.

    Returns:
        The two parts, views that copy nothing. The first has
        `int(n * (1 - validation_fraction))` tokens, as in nanoGPT.

    Raises:
        ValueError: If the fraction is out of range or leaves a part empty.

    Example:
        >>> train, validation = split_tokens(np.arange(10), 0.1)
        >>> len(train), validation[:]
        (9, array([9]))
    """
    count = len(tokens)
    middle = int(count * (1 - validation_fraction)) if 0 < validation_fraction < 1 else 0
    if not 0 < middle < count:
        raise ValueError(
            "`validation_fraction` must be above 0 and below 1 and leave each part a token. "
            f"Received: validation_fraction={validation_fraction}, {count} tokens. "
            "Use, for example, 0.1 and a longer text."
        )
    return TokenView(tokens, 0, middle), TokenView(tokens, middle, count)


class TokenShards:
    """Token ids on disk, read as they are asked for.

    Made by `prepare` and read by `TokenShards.open`. It has a length and
    slices, `tokens[a:b]`, which are read-only arrays.
    """

    def __init__(self, directory: Path, index: dict[str, Any], shards: list[np.ndarray]) -> None:
        self.directory = directory
        self._index = index
        self._shards = shards
        self._ends = list(itertools.accumulate(len(shard) for shard in shards))

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> Self:
        """Opens the token shards of a directory; reads the index only.

        Args:
            directory: Folder that `prepare` wrote.

        Raises:
            FileNotFoundError: If the index or a shard is not there.
            ValueError: If the index is damaged or of another format, or a shard
                has another size than the index says.
        """
        folder = Path(directory)
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
        """What `index.json` says."""
        return dict(self._index)

    def split(self, validation_fraction: float | None = None) -> tuple[TokenSource, TokenSource]:
        """Splits into a part to train on and a part to validate on.

        If the corpus was prepared with a `validation_fraction`, these are the
        documents that were chosen then. Otherwise see `split_tokens`.

        Args:
            validation_fraction: Share of the last part; by default 0.1. Only for
                a corpus that was prepared without one.

        Raises:
            ValueError: If the fraction is out of range or leaves a part empty, or
                the corpus was split already.
        """
        split = self._index.get("split")
        if split is None:
            fraction = validation_fraction
            return split_tokens(self, DEFAULT_VALIDATION_FRACTION if fraction is None else fraction)
        if validation_fraction is not None:
            raise ValueError(
                "A corpus is split once: when it is prepared, by documents, or when it is used. "
                f"Received: validation_fraction={validation_fraction}, for {self.directory}, "
                f"prepared with validation_fraction={split['validation_fraction']}. Leave it out."
            )
        middle = split["num_training_tokens"]
        return TokenView(self, 0, middle), TokenView(self, middle, len(self))

    def verify(self) -> None:
        """Reads every shard and compares its SHA-256 with the index.

        Raises:
            ValueError: If one differs.
        """
        for shard in self._index["shards"]:
            path = self.directory / shard["file"]
            found = file_sha256(path)
            if found != shard["sha256"]:
                raise ValueError(
                    "A shard has the SHA-256 that the index says. "
                    f"Received: {path} with {found}, expected {shard['sha256']}. "
                    "The file was changed: prepare the corpus again."
                )

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, key: slice) -> np.ndarray:
        start, stop = _bounds(key, len(self))
        first = bisect.bisect_right(self._ends, start)
        if first == len(self._shards):
            return self._shards[-1][:0]
        before = self._ends[first - 1] if first else 0
        if stop <= self._ends[first]:  # in one shard, nearly always
            return self._shards[first][start - before : stop - before]
        pieces = []
        while start < stop:
            end = min(stop, self._ends[first])
            pieces.append(self._shards[first][start - before : end - before])
            start, before, first = end, self._ends[first], first + 1
        return np.concatenate(pieces)

    def __repr__(self) -> str:
        return f"TokenShards({str(self.directory)!r}, {len(self)} tokens)"


def _bounds(key: slice, length: int) -> tuple[int, int]:
    """Returns the start and the stop of a slice, the stop not before the start."""
    if not isinstance(key, slice) or key.step not in (None, 1):
        raise TypeError(
            "Tokens on disk are read by slices without a step. "
            f"Received: tokens[{key!r}]. Use tokens[a:b]."
        )
    start, stop, _ = key.indices(length)
    return start, max(start, stop)


def _read_index(folder: Path) -> dict[str, Any]:
    """Reads and checks `index.json`."""
    path = folder / INDEX_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"A directory of token shards holds {INDEX_NAME}. Received: {str(folder)!r}, which "
            f"{'has none' if folder.is_dir() else 'is no directory'}. "
            "Make one with `gpt2-keras prepare`."
        )
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        kind = (index["format"], index["version"])
        total = sum(operator.index(shard["num_tokens"]) for shard in index["shards"])
        is_whole = index["dtype"] in DTYPES and total == index["num_tokens"] > 0
        middle = index["split"]["num_training_tokens"] if "split" in index else total
        is_whole = is_whole and 0 < middle <= total
        is_whole = is_whole and {"vocab_size", "tokenizer"} <= set(index)
        is_whole = is_whole and all({"file", "sha256"} <= set(s) for s in index["shards"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{INDEX_NAME} describes token shards. "
            f"Received: {path}, which does not ({type(error).__name__}: {error}). "
            "Prepare the corpus again."
        ) from error
    if kind != (FORMAT, FORMAT_VERSION) or not is_whole:
        raise ValueError(
            f"{INDEX_NAME} is of format {FORMAT!r}, version {FORMAT_VERSION}, with all its "
            f"fields. Received: {path} of format {kind[0]!r}, version {kind[1]!r}, "
            f"dtype {index['dtype']!r}, num_tokens {index['num_tokens']} where the shards have "
            f"{total}. Prepare the corpus again."
        )
    return dict(index)


def _map_shard(path: Path, dtype: np.dtype, shard: dict[str, Any]) -> np.ndarray:
    """Maps one shard into memory."""
    if not path.is_file():
        raise FileNotFoundError(
            f"Every shard of {INDEX_NAME} is beside it. Received: {str(path)!r}, which is not "
            "there. Prepare the corpus again."
        )
    expected, found = shard["num_tokens"] * dtype.itemsize, path.stat().st_size
    if expected != found:
        raise ValueError(
            f"A shard has the size that {INDEX_NAME} says. "
            f"Received: {path} of {found} bytes, expected {expected}. "
            "It was cut short or changed: prepare the corpus again."
        )
    # A plain array: slices of np.memmap cost several times as much.
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))
