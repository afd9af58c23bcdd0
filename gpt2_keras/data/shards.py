"""Token shards: a corpus as token ids on disk, memory-mapped.

A directory of

    tokens-00000.bin, …   token ids, one after the other: little-endian
                          unsigned integers of 2 bytes (of 4, if the vocabulary
                          has more than 65,536 tokens), no header
    index.json            what they are: format, version, dtype, vocab_size,
                          num_tokens, shards (file, num_tokens, sha256),
                          tokenizer (its fingerprint), end_of_text, sources

A document ends with the id of `<|endoftext|>`.
"""

import bisect
import contextlib
import hashlib
import io
import itertools
import json
import operator
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from gpt2_keras.data.text import check_paths, read_documents
from gpt2_keras.tokenizer.host import GPT2Tokenizer

FORMAT = "gpt2_keras.token_shards"
FORMAT_VERSION = 1
INDEX_NAME = "index.json"
DTYPES: dict[str, np.dtype] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}
DEFAULT_SHARD_TOKENS = 100_000_000
# Pieces of text encoded at once, on as many threads as there are cores.
_PIECES_AT_ONCE = 8


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

    def split(self, validation_fraction: float) -> tuple[TokenSource, TokenSource]:
        """Splits into a part to train on and a part to validate on: see `split_tokens`.

        Raises:
            ValueError: If the fraction is out of range or leaves a part empty.
        """
        return split_tokens(self, validation_fraction)

    def verify(self) -> None:
        """Reads every shard and compares its SHA-256 with the index.

        Raises:
            ValueError: If one differs.
        """
        for shard in self._index["shards"]:
            path = self.directory / shard["file"]
            found = _sha256(path)
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


def prepare(
    paths: Iterable[str | os.PathLike[str]],
    tokenizer: GPT2Tokenizer,
    out_dir: str | os.PathLike[str],
    *,
    shard_tokens: int = DEFAULT_SHARD_TOKENS,
    end_of_text: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> TokenShards:
    """Turns text files into token shards, in constant memory.

    Each file is one document; an empty one is left out. `<|endoftext|>` in a
    text is plain text. The directory appears when everything is written; until
    then, and if it fails, there is nothing under its name.

    Args:
        paths: Files, as for `read_texts`.
        tokenizer: Makes the ids.
        out_dir: Directory to make. It may be there if it is empty.
        shard_tokens: Number of tokens a shard file holds, at least 1.
        end_of_text: Whether the id of `<|endoftext|>` ends every document.
        on_progress: Called with the number of bytes read and of all bytes.

    Returns:
        The shards, opened.

    Raises:
        TypeError: If `paths` is one path.
        ValueError: If `shard_tokens` is below 1, no path is given, or a file is
            not UTF-8 text or all are empty.
        FileExistsError: If `out_dir` is there and not empty. Nothing is changed.
        OSError: If a file cannot be read, or the shards not be written.
    """
    files, out = check_paths(paths), Path(out_dir)
    if shard_tokens < 1:
        raise ValueError(
            "`shard_tokens` must be at least 1. "
            f"Received: shard_tokens={shard_tokens}. Use, for example, {DEFAULT_SHARD_TOKENS}."
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(
            "Token shards are written into a new or an empty directory. "
            f"Received: {str(out)!r}, which {'is not empty' if out.is_dir() else 'is a file'}. "
            "Choose another name, or remove it yourself."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.parent / f".{out.name}.{os.getpid()}"
    beside.mkdir()
    try:
        dtype_name = "uint16" if tokenizer.vocab_size <= 2**16 else "uint32"
        writer = _ShardWriter(beside, DTYPES[dtype_name], shard_tokens)
        with contextlib.closing(writer):
            documents = read_documents(files, on_progress=on_progress)
            for ids in _encode_documents(documents, tokenizer, end_of_text):
                writer.write(ids)
        index = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "dtype": dtype_name,
            "vocab_size": tokenizer.vocab_size,
            "num_tokens": sum(shard["num_tokens"] for shard in writer.shards),
            "shards": writer.shards,
            "tokenizer": tokenizer.fingerprint,
            "end_of_text": end_of_text,
            "sources": [{"file": file.name, "bytes": file.stat().st_size} for file in files],
        }
        (beside / INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        if out.exists():
            out.rmdir()  # empty; Windows does not rename onto it
        beside.rename(out)
    except BaseException:  # Ctrl-C too
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return TokenShards.open(out)


def _encode_documents(
    documents: Iterable[Iterator[str]], tokenizer: GPT2Tokenizer, end_of_text: bool
) -> Iterator[list[int]]:
    """Yields the token ids of documents in pieces."""
    for pieces in documents:
        has_text = False
        while group := list(itertools.islice(pieces, _PIECES_AT_ONCE)):
            has_text = True
            yield from tokenizer.encode(group)
        if has_text and end_of_text:
            yield [tokenizer.end_token_id]


class _ShardWriter:
    """Writes token ids into files of at most `shard_tokens` each."""

    def __init__(self, folder: Path, dtype: np.dtype, shard_tokens: int) -> None:
        self._folder, self._dtype, self._shard_tokens = folder, dtype, shard_tokens
        self._file: io.FileIO | None = None
        self.shards: list[dict[str, Any]] = []

    def write(self, token_ids: list[int]) -> None:
        ids = np.array(token_ids, dtype=self._dtype)
        while len(ids):
            if self._file is None:
                self._open_next()
            room = self._shard_tokens - self.shards[-1]["num_tokens"]
            self._append(ids[:room].tobytes())
            self.shards[-1]["num_tokens"] += len(ids[:room])
            ids = ids[room:]
            if self.shards[-1]["num_tokens"] == self._shard_tokens:
                self.close()

    def _open_next(self) -> None:
        name = f"tokens-{len(self.shards):05d}.bin"
        self._file = (self._folder / name).open("wb", buffering=0)
        self._hash = hashlib.sha256()
        self.shards.append({"file": name, "num_tokens": 0, "sha256": ""})

    def _append(self, raw: bytes) -> None:
        assert self._file is not None  # noqa: S101 -- tells the type checker
        try:
            written = 0
            while written < len(raw):  # a disk that is nearly full takes a part
                written += self._file.write(raw[written:])
        except OSError as error:
            raise OSError(
                error.errno,
                f"Token shards need room on the disk: {error.strerror}. Nothing was kept. "
                "Free some, or choose another place. Received",
                self._file.name,
            ) from error
        self._hash.update(raw)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self.shards[-1]["sha256"] = self._hash.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
