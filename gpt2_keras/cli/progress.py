"""Progress bars, on stderr."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def byte_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Draws a progress bar while its block runs; only where stderr is a terminal.

    Args:
        label: What is being done, in one word.

    Yields:
        A function to call with the number of bytes done and of all bytes.
    """
    from rich.progress import DownloadColumn, TransferSpeedColumn

    with _progress(label, DownloadColumn(), TransferSpeedColumn()) as on_progress:
        yield on_progress


@contextlib.contextmanager
def count_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Draws a progress bar of things counted, such as tokens; see `byte_progress`."""
    from rich.progress import MofNCompleteColumn

    with _progress(label, MofNCompleteColumn()) as on_progress:
        yield on_progress


@contextlib.contextmanager
def _progress(label: str, *columns: Any) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    all_columns = (TextColumn("{task.description}"), BarColumn(), *columns, TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*all_columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
