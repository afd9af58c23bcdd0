"""One process at a time in a run directory."""

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def run_lock(path: Path) -> Iterator[None]:
    """Lets one process at a time train in a run directory.

    The lock is the operating system's, on the file `.lock`: it ends with the process,
    whatever ends that. Where the file cannot be written, or the file system has no locks,
    nothing is locked.

    Args:
        path: The run directory.

    Raises:
        RuntimeError: If another process holds the lock.

    Example:
        >>> path = Path(tempfile.mkdtemp())
        >>> with run_lock(path):
        ...     print([file.name for file in path.iterdir()])
        ['.lock']
        >>> list(path.iterdir())
        []
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(_locked(path / ".lock"))
        yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Locks a file, which is made for it and removed at the end."""
    if fcntl is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        while True:
            file = stack.enter_context(path.open("a+", encoding="utf-8"))
            _lock(file, path.parent)
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                    break  # and not a file that its holder has just removed
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def _lock(file: TextIO, directory: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read(200).strip() or "another process"
        raise RuntimeError(
            f"{directory} is being trained by {holder}. A run has one process: wait until it "
            "ends, or stop it and resume."
        ) from None
