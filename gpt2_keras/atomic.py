"""Atomic outputs: files and directories that exist complete or not at all.

They are on the disk before they get their names, so that this holds after a power failure as well.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
ALL_ERRORS = frozenset(errno.errorcode)
_TOLD = "nothing was kept"


@contextlib.contextmanager
def new_directory(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields a temporary directory to fill, which gets its final name at the end.

    Whatever ends the block early, an exception or Ctrl-C, removes the unfinished
    directory; nothing appears under the final name.

    Args:
        path: The final path. Its parents are created if need be.
        replace: Whether to replace an existing directory once the new one is
            complete. The caller has checked that it may be deleted.

    Yields:
        The directory to fill, beside the final path.

    Raises:
        FileExistsError: If the path is a directory that is not empty and
            `replace` is False.
        NotADirectoryError: If it is a file.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "out"
        >>> with new_directory(path) as directory:
        ...     _ = (directory / "a.txt").write_text("A")
        >>> [file.name for file in path.iterdir()]
        ['a.txt']
    """
    path = Path(path)
    check_output_directory(path, replace=replace)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _unfinished(path)
    with _told(path, ALL_ERRORS):
        unfinished.mkdir()
    try:
        with _told(path):
            yield unfinished
            _finish(unfinished, unfinished.stat().st_mode)
        check_output_directory(path, replace=replace)  # again: the work may have been long
        old = unfinished.with_suffix(".old") if path.exists() else None
        if old is not None and not _exchange(unfinished, path):
            path.rename(old)
            unfinished.rename(path)
        elif old is not None:
            unfinished.rename(old)
        else:
            unfinished.rename(path)
        _flush(path.parent)
        if old is not None:
            shutil.rmtree(old)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def recover(folder: str | Path) -> None:
    """Cleans up after a killed process in a folder.

    Unfinished files and directories are removed. A directory that was moved aside
    for its replacement is moved back if the replacement does not exist, and is
    removed otherwise.

    Args:
        folder: The parent of the paths given to `new_directory` and `new_file`.
            Nothing else may be writing there.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / ".out.0123abcd.old").mkdir()
        >>> recover(folder)
        >>> [file.name for file in folder.iterdir()]
        ['out']
    """
    for leftover in Path(folder).glob(".*.unfinished"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    for leftover in Path(folder).glob(".*.old"):
        path = leftover.with_name(leftover.name.removeprefix(".").rsplit(".", 2)[0])
        if path.exists():
            shutil.rmtree(leftover)
        else:
            leftover.rename(path)


def check_output_directory(path: str | Path, *, replace: bool = False) -> None:
    """Checks that `new_directory` may create a directory; for the start of long work.

    Raises:
        FileExistsError, NotADirectoryError: As for `new_directory`.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file. Name a new or empty directory.")
    if path.is_dir() and not replace and any(path.iterdir()):
        raise occupied_directory(path, len(list(path.iterdir())))


def occupied_directory(path: str | Path, num_entries: int) -> FileExistsError:
    """Returns the error of an output directory that is not empty."""
    return FileExistsError(
        f"{path} is not empty (it has {num_entries} entries), and nothing is overwritten. "
        "Name a new or empty directory, or move this one away first."
    )


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path to write to, which gets its final name at the end.

    Args:
        path: The final path; an existing file is replaced once the new one is complete.

    Yields:
        The path to write to, beside the final one.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with new_file(path) as file:
        ...     _ = file.write_text("A")
        >>> path.read_text()
        'A'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _unfinished(path)
    with _told(path, ALL_ERRORS):
        unfinished.touch()
    mode = unfinished.stat().st_mode
    unfinished.unlink()
    try:
        with _told(path):
            yield unfinished
            _finish(unfinished, mode)
        os.replace(unfinished, path)  # noqa: PTH105 -- named for what it does
        _flush(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def check_output_file(path: str | os.PathLike[str]) -> None:
    """Checks that there is no file of that name yet; for the start of long work.

    Raises:
        FileExistsError: If there is one, or a directory.
    """
    if Path(path).exists():
        raise FileExistsError(
            f"{path} exists, and nothing is overwritten. Name another path, or move it away first."
        )


def check_room(directory: Path, num_bytes: int) -> None:
    """Raises OSError if a file of that size does not fit on the disk of a directory.

    For a library that does not survive a full disk.
    """
    if not hasattr(os, "posix_fallocate"):  # Windows, macOS
        return
    with tempfile.TemporaryFile(dir=directory) as file:
        os.posix_fallocate(file.fileno(), 0, num_bytes)


def _unfinished(path: Path) -> Path:
    """Returns a new name beside a path; a long one is shortened to what a file system takes."""
    name = path.name.encode()[:200].decode(errors="ignore")
    return path.with_name(f".{name}.{uuid.uuid4().hex[:8]}.unfinished")


@contextlib.contextmanager
def _told(path: Path, numbers: frozenset[int] = FULL) -> Iterator[None]:
    """Adds to an error of the file system what could not be written, and that nothing was kept.

    Args:
        path: The final path.
        numbers: The values of `errno` that are about the output.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in numbers or _TOLD in str(error):
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}: the output could not be written, and {_TOLD}. "
            "Make room, or name a path that you may write to. The path was",
            str(path),
        ) from error


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges the names of two directories at once; returns False where that is impossible.

    Between two renames a killed process would leave nothing under the name. Source: renameat2(2).
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux
        return False
    at_working_directory, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    names = [os.fsencode(path) for path in (one, other)]
    return bool(
        rename(at_working_directory, names[0], at_working_directory, names[1], exchange) == 0
    )


def _finish(path: Path, mode: int) -> None:
    """Writes a file, or a directory and all in it, to the disk, with the usual permissions.

    Args:
        path: The file or directory.
        mode: What a new file or directory gets here, by the umask. Some libraries write files
            that only their owner may read.
    """
    for entry in [*path.rglob("*"), path] if path.is_dir() else [path]:
        if not entry.is_symlink():
            allowed = mode & (0o777 if entry.is_dir() else 0o666)
            entry.chmod(stat.S_IMODE(entry.stat().st_mode) | allowed)
            _flush(entry)


def _flush(path: Path) -> None:
    """Writes a file, or the names in a directory, to the disk."""
    if path.is_dir() and os.name != "posix":  # elsewhere a directory cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
