"""Signals that ask a run to stop."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A run was stopped by a signal after its state was saved.

    Args:
        number: The signal.
        step: Number of steps that are done and saved.
    """

    def __init__(self, number: signal.Signals, step: int) -> None:
        super().__init__(f"stopped by {number.name} after step {step}, which is saved")
        self.number, self.step = number, step


class StopSignals:
    """Notes the first SIGINT or SIGTERM while its block runs, instead of stopping at once.

    A second signal does what it would do without the block. Does nothing outside
    the main thread, where Python allows no handlers, and leaves alone a signal
    that the process ignores (`nohup`).

    Args:
        verbose: Whether to acknowledge the signal on the error stream.

    Example:
        >>> with StopSignals() as signals:
        ...     signal.raise_signal(signal.SIGTERM)
        >>> signals.received.name
        'SIGTERM'
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._put_back()

    def _put_back(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.received = signal.Signals(number)
        self._put_back()
        if self.verbose:
            # Not by print: it may be what the signal has interrupted.
            text = f"\n{self.received.name}: stopping after this step; again to stop at once\n"
            os.write(2, text.encode())
