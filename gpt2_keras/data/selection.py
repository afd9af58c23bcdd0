"""Which documents are kept, and on which side: decided by their text alone, and their order."""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from gpt2_keras.data.near_duplicates import near_fingerprints

DIGEST_BYTES = 16


def digest_of(pieces: Iterable[str]) -> bytes:
    """Returns the BLAKE2b hash, of 16 bytes, of a text in UTF-8.

    Example:
        >>> digest_of(["one ", "text"]) == digest_of(["one text"])
        True
    """
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for piece in pieces:
        hasher.update(piece.encode("utf-8"))
    return hasher.digest()


def validates(digest: bytes, validation_fraction: float | None) -> bool:
    """Returns whether the document of a hash is one to validate on.

    Its first 8 bytes, as a number from 0 to 1, are below the fraction. So with a
    larger fraction the documents of a smaller one are still among them.

    Example:
        >>> digest = digest_of(["text"])
        >>> validates(digest, 0.99), validates(digest, None)
        (True, False)
    """
    if validation_fraction is None:
        return False
    return int.from_bytes(digest[:8], "big") < validation_fraction * 2**64


def fingerprints_of(
    digest: bytes, pieces: Iterable[str], deduplicate: str | None
) -> Sequence[bytes]:
    """Returns what a document must not have in common with one before it.

    Args:
        digest: Its `digest_of`.
        pieces: Its text.
        deduplicate: As for `PreparationOptions`.
    """
    if deduplicate is None:
        return []
    return [digest, *near_fingerprints(pieces)] if deduplicate == "near" else [digest]


class SeenFingerprints:
    """The fingerprints of the documents so far, in a database on disk.

    So memory is constant. A document takes about 25 bytes of disk, or 500 where
    near duplicates are looked for.

    Args:
        file: The database to make when it is needed; it is removed at the end.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._database: sqlite3.Connection | None = None

    def add(self, fingerprints: Sequence[bytes]) -> bool:
        """Adds those of a document; returns whether all of them are new.

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
                f"Deduplication needs room on the disk for its hashes. Received: {self._file} "
                f"({error}). Nothing was kept. Free some, or choose another place."
            ) from error
        return added.rowcount == len(fingerprints)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._database is not None:
            self._database.close()
            self._file.unlink(missing_ok=True)


def _new_database(file: Path) -> sqlite3.Connection:
    """Makes the table, in one transaction that is never ended: nothing outlives the process."""
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    database.execute("PRAGMA cache_size = -65536")  # 64 MB
    database.execute("CREATE TABLE seen (fingerprint BLOB PRIMARY KEY) WITHOUT ROWID")
    database.execute("BEGIN")
    return database
