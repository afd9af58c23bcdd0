"""The SHA-256 of a file."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's contents, in hexadecimal.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> _ = path.write_text("abc")
        >>> file_sha256(path)[:8]
        'ba7816bf'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
