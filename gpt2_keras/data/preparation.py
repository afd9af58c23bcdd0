"""Token shards, written: text files are encoded and their ids put on disk."""

import contextlib
import hashlib
import io
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpt2_keras.atomic import new_directory
from gpt2_keras.data.shards import DTYPES, FORMAT, FORMAT_VERSION, INDEX_NAME, TokenShards
from gpt2_keras.data.text import check_paths, read_documents
from gpt2_keras.tokenizer.host import GPT2Tokenizer

DEFAULT_SHARD_TOKENS = 100_000_000
# Pieces of text encoded at once, on as many threads as there are cores.
_PIECES_AT_ONCE = 8


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
        NotADirectoryError: If it is a file.
        OSError: If a file cannot be read, or the shards not be written.
    """
    files = check_paths(paths)
    if shard_tokens < 1:
        raise ValueError(
            "`shard_tokens` must be at least 1. "
            f"Received: shard_tokens={shard_tokens}. Use, for example, {DEFAULT_SHARD_TOKENS}."
        )
    with new_directory(Path(out_dir)) as folder:
        dtype_name = "uint16" if tokenizer.vocab_size <= 2**16 else "uint32"
        writer = _ShardWriter(folder, DTYPES[dtype_name], shard_tokens)
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
        (folder / INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return TokenShards.open(out_dir)


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
