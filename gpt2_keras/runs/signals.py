"""Stops a run at SIGINT or SIGTERM, after the current step."""

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """The error of a run that a signal has stopped, after its checkpoint was written.

    Args:
        number: The signal.
        step: Number of steps that are done and saved.
    """

    def __init__(self, number: signal.Signals, step: int) -> None:
        super().__init__(f"stopped by {number.name} after step {step}, which is saved")
        self.number, self.step = number, step


class StopSignals:
    """Records the first SIGINT or SIGTERM while its block runs, instead of stopping at once.

    A second signal has the effect that it has without the block. Does nothing outside
    the main thread, where Python allows no handlers, and leaves alone a signal
    that the process ignores (`nohup`).

    Args:
        verbose: Whether to acknowledge the signal on stderr.

    Example:
        >>> with StopSignals() as signals:
        ...     signal.raise_signal(signal.SIGTERM)
        >>> signals.received.name
        'SIGTERM'
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.received: signal.Signals | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _record(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.received = signal.Signals(number)
        self._restore_handlers()
        if self.verbose:
            # Not by print, which the signal may have interrupted.
            text = f"\n{self.received.name}: stopping after this step; again to stop at once\n"
            os.write(2, text.encode())
