"""Outputs that are there in full or not at all."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def new_directory(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Fills a directory beside its final place and renames it there at the end.

    Whatever ends the block early, an exception or Ctrl-C, removes the unfinished
    directory; nothing appears under the final name.

    Args:
        path: The final place. Its parents are made if need be.
        replace: Whether a directory already there gives way once the new one is
            complete. The caller has made sure that it is one of ours.

    Yields:
        The directory to fill.

    Raises:
        FileExistsError: If the place is taken (an empty directory is not) and
            `replace` is False.
        NotADirectoryError: If it is a file.

    Example:
        >>> place = Path(tempfile.mkdtemp()) / "out"
        >>> with new_directory(place) as directory:
        ...     _ = (directory / "a.txt").write_text("A")
        >>> [file.name for file in place.iterdir()]
        ['a.txt']
    """
    path = Path(path)
    refuse_taken(path, replace=replace)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.unfinished")
    unfinished.mkdir()
    try:
        yield unfinished
        refuse_taken(path, replace=replace)  # again: the work may have been long
        old = None
        if path.exists():
            old = unfinished.with_suffix(".old")
            path.rename(old)
        unfinished.rename(path)
        if old is not None:
            shutil.rmtree(old)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def recover(folder: str | Path) -> None:
    """Clears up what a killed process left in a folder.

    What was half-written is removed. A directory that was moved aside for its
    replacement is put back if the replacement is not in its place, and else
    removed.

    Args:
        folder: Where `new_directory` and `new_file` had their places. Nothing
            else may be writing there.

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
        place = leftover.with_name(leftover.name.removeprefix(".").rsplit(".", 2)[0])
        if place.exists():
            shutil.rmtree(leftover)
        else:
            leftover.rename(place)


def refuse_taken(path: str | Path, *, replace: bool = False) -> None:
    """Raises an error if a new directory may not be made at a place.

    Long work calls this before it begins. See `new_directory` for the rule.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(
            f"The output must be a directory. Received: {path}, a file. Name another place."
        )
    if path.is_dir() and not replace and any(path.iterdir()):
        raise FileExistsError(
            "The output must be a new or empty directory; nothing is overwritten. "
            f"Received: {path}, which holds {len(list(path.iterdir()))} entries. "
            "Name another place, or move it away first."
        )


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Writes a file beside its final place and renames it there at the end.

    Args:
        path: The final place; a file there gives way once the new one is complete.

    Yields:
        The path to write to.

    Example:
        >>> place = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with new_file(place) as file:
        ...     _ = file.write_text("A")
        >>> place.read_text()
        'A'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.unfinished")
    try:
        yield unfinished
        os.replace(unfinished, path)  # noqa: PTH105 -- named for what it does
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
