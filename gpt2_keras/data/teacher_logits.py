"""The largest logits of a teacher beside token shards: what a student learns from.

A folder `teacher_logits` in that of the shards:

    token_ids.bin    of each token of the corpus the `top_k` most likely next ones, the most
                     likely first: little-endian unsigned integers, as in the shards
    logits.bin       their logits, less the largest one, and that of all other tokens together:
                     float16, `top_k + 1` per token
    index.json       their description: format, version, top_k, temperature, num_tokens,
                     vocab_size, context_length, teacher and tokenizer (their fingerprints),
                     shards (the SHA-256 of each)

The logit of all others together is `temperature` times the log of the sum of their exponentials of
`logit / temperature`: with it the probabilities of that temperature are exact.
"""

from pathlib import Path
from typing import Any, Self

import numpy as np

from gpt2_keras.data.shards import DTYPES, TokenShards
from gpt2_keras.data.token_source import slice_bounds
from gpt2_keras.json_text import parse_json
from gpt2_keras.validation import check_instance

FORMAT = "gpt2_keras.teacher_logits"
FORMAT_VERSION = 1
FOLDER, INDEX_NAME = "teacher_logits", "index.json"
IDS_NAME, LOGITS_NAME = "token_ids.bin", "logits.bin"
LOGITS_DTYPE = np.dtype("<f2")
_FIELDS = ("top_k", "num_tokens", "vocab_size", "context_length")
_ADVICE = "Write them with `gpt2-keras prepare --out {} --teacher DIR`."


class TeacherLogits:
    """A teacher's largest logits, memory-mapped; written by `compression.store_teacher_logits`.

    It has a length, the number of tokens, and slices: `(ids, logits)`, `(count, top_k)` and
    `(count, top_k + 1)`.

    Args:
        index: Contents of `index.json`.
        token_ids: Unsigned array `(tokens, top_k)`.
        logits: Float16 array `(tokens, top_k + 1)`.
    """

    def __init__(self, index: dict[str, Any], token_ids: np.ndarray, logits: np.ndarray) -> None:
        self._index, self._token_ids, self._logits = index, token_ids, logits

    @classmethod
    def open(cls, shards: TokenShards) -> Self:
        """Opens the logits beside token shards; reads the index only.

        Raises:
            TypeError: If `shards` are no token shards.
            FileNotFoundError: If there are none.
            ValueError: If they are of other shards, or damaged.
        """
        check_instance("shards", shards, TokenShards, "TokenShards")
        folder = shards.directory / FOLDER
        advice = _ADVICE.format(shards.directory)
        if not (folder / INDEX_NAME).is_file():
            raise FileNotFoundError(
                f"{shards.directory} has no {FOLDER}/{INDEX_NAME}: no teacher's logits were "
                f"stored. {advice}"
            )
        index = _read_index(folder / INDEX_NAME, advice)
        if index["shards"] != shard_hashes(shards) or index["tokenizer"] != shards.fingerprint:
            raise ValueError(
                f"{folder} has the logits of other token shards, or of another tokenizer, than "
                f"those in {shards.directory}. Move it away. {advice}"
            )
        dtype = DTYPES[shards.index["dtype"]]
        tokens, top_k = index["num_tokens"], index["top_k"]
        ids = _map(folder / IDS_NAME, dtype, (tokens, top_k), advice)
        logits = _map(folder / LOGITS_NAME, LOGITS_DTYPE, (tokens, top_k + 1), advice)
        return cls(index, ids, logits)

    @property
    def top_k(self) -> int:
        """Number of logits of each token."""
        return int(self._index["top_k"])

    @property
    def temperature(self) -> float:
        """The temperature at which the probabilities are exact."""
        return float(self._index["temperature"])

    @property
    def teacher(self) -> str:
        """The fingerprint of the teacher."""
        return str(self._index["teacher"])

    def __len__(self) -> int:
        return len(self._logits)

    def __getitem__(self, key: slice) -> tuple[np.ndarray, np.ndarray]:
        start, stop = slice_bounds(key, len(self))
        return self._token_ids[start:stop], self._logits[start:stop]


def shard_hashes(shards: TokenShards) -> list[str]:
    """Returns the SHA-256 of each shard, as its index records them."""
    return [shard["sha256"] for shard in shards.index["shards"]]


def _read_index(path: Path, advice: str) -> dict[str, Any]:
    """Reads and checks `index.json`."""
    try:
        index = parse_json(path.read_text(encoding="utf-8"))
        found = (index["format"], index["version"])
        is_whole = all(type(index[name]) is int and index[name] > 0 for name in _FIELDS)
        is_whole = is_whole and float(index["temperature"]) > 0
        is_whole = is_whole and all(index[name] for name in ("teacher", "tokenizer", "shards"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not an index of a teacher's logits ({type(error).__name__}: {error}). "
            f"Move its folder away. {advice}"
        ) from error
    if found != (FORMAT, FORMAT_VERSION) or not is_whole:
        raise ValueError(
            f"{path} has format {found[0]!r}, version {found[1]!r}, or lacks a field. Readable is "
            f"{FORMAT!r}, version {FORMAT_VERSION}. Move its folder away. {advice}"
        )
    return dict(index)


def _map(path: Path, dtype: np.dtype, shape: tuple[int, int], advice: str) -> np.ndarray:
    """Maps a file into memory."""
    expected = dtype.itemsize * shape[0] * shape[1]
    found = path.stat().st_size if path.is_file() else 0
    if found != expected:
        raise ValueError(
            f"{path} has {found} bytes, and {INDEX_NAME} records {expected}: it was truncated or "
            f"changed. Move its folder away. {advice}"
        )
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=shape))
