"""The selection of documents: duplicates and the validation split, by hashes of their text."""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from gpt2_keras.data.near_duplicates import near_fingerprints
from gpt2_keras.data.options import PreparationOptions

DIGEST_BYTES = 16


def digest_of(chunks: Iterable[str]) -> bytes:
    """Returns the BLAKE2b hash, of 16 bytes, of a text in UTF-8.

    Example:
        >>> digest_of(["one ", "text"]) == digest_of(["one text"])
        True
    """
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for chunk in chunks:
        hasher.update(chunk.encode("utf-8"))
    return hasher.digest()


def is_for_validation(digest: bytes, validation_fraction: float | None) -> bool:
    """Returns whether a document is one to validate on, by its hash.

    The first 8 bytes of the hash, as a number from 0 to 1, are below the fraction: a larger
    fraction selects the documents of a smaller one, and more.

    Example:
        >>> digest = digest_of(["text"])
        >>> is_for_validation(digest, 0.99), is_for_validation(digest, None)
        (True, False)
    """
    if validation_fraction is None:
        return False
    return int.from_bytes(digest[:8], "big") < validation_fraction * 2**64


def select(
    chunks: Iterable[str], options: PreparationOptions
) -> tuple[bytes, Sequence[bytes], bool]:
    """Returns the hash of a text, its fingerprints, and whether it is for validation.

    A duplicate has a fingerprint of an earlier document. The hash is empty where the options
    need none.
    """
    digest = digest_of(chunks) if options.needs_digest else b""
    fingerprints = [digest] if options.deduplicate else []
    if options.deduplicate == "near":
        fingerprints += near_fingerprints(chunks)
    return digest, fingerprints, is_for_validation(digest, options.validation_fraction)


class SeenFingerprints:
    """The fingerprints of the documents so far, in a database on disk.

    Memory is constant. A document needs about 25 bytes of disk, or 500 with
    `deduplicate="near"`.

    Args:
        file: The database, created when it is needed and removed at the end.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._database: sqlite3.Connection | None = None

    def add(self, fingerprints: Sequence[bytes]) -> bool:
        """Adds the fingerprints of a document; returns whether all of them are new.

        Raises:
            OSError: If the disk is full.
        """
        if not fingerprints:
            return True
        statement = "INSERT OR IGNORE INTO seen VALUES (?)"
        try:
            if self._database is None:
                self._database = _new_database(self._file)
            added = self._database.executemany(statement, [(one,) for one in fingerprints])
        except sqlite3.OperationalError as error:
            raise OSError(
                f"{self._file} cannot be written ({error}). Deduplication keeps its hashes there. "
                "Nothing was kept. Free some disk space, or name another directory."
            ) from error
        return added.rowcount == len(fingerprints)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._database is not None:
            self._database.close()
            self._file.unlink(missing_ok=True)


def _new_database(file: Path) -> sqlite3.Connection:
    """Creates the table, in one transaction that never ends: nothing outlives the process."""
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    database.execute("PRAGMA cache_size = -65536")  # 64 MB
    database.execute("CREATE TABLE seen (fingerprint BLOB PRIMARY KEY) WITHOUT ROWID")
    database.execute("BEGIN")
    return database
