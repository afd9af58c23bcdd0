"""The error for a file that is truncated or damaged."""

from pathlib import Path


def damaged(path: Path, what: str, reason: object, found: str = "") -> ValueError:
    """Returns the error for what cannot be read.

    Args:
        path: The file or directory.
        what: What it should be, such as `"safetensors file"`.
        reason: Why it cannot be read.
        found: What is there; by default the size of the file.
    """
    found = found or f"{path.stat().st_size} bytes"
    return ValueError(
        f"{path} ({found}) is not a complete {what}: {reason}. Copy or download it again."
    )
