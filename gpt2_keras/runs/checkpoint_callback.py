"""When a run is saved, and when it stops."""

import contextlib
import dataclasses
import math
import signal
import time
from typing import Any

import keras
from keras import ops

from gpt2_keras.runs.distribution import Strategy
from gpt2_keras.runs.ema import AverageWeights
from gpt2_keras.runs.progress import Progress
from gpt2_keras.runs.run_directory import COLUMNS, RunDirectory
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.runs.signals import Stopped, StopSignals


class Recorder(keras.callbacks.Callback):
    """Saves the run, stops it at a signal, and when patience ends.

    The state is saved before each evaluation, and between them as the settings
    say. What an evaluation finds is added to the state afterwards: if the run
    is killed in between, it goes on with the evaluation.

    Args:
        run: Where to save.
        progress: How far the run has come before.
        settings: Those of the run.
        ends: The step that each epoch ends with.
        signals: Says whether the run is to stop.
        strategy: Workers that train together stop together.
        sums: The variables of the metrics, if the run goes on inside an epoch.
        averages: What swaps averaged weights in, if they are to be saved.

    Raises:
        ValueError: If the validation loss or a weight is no number.
        OSError: If a file cannot be written; see `RunDirectory.save`.
        Stopped: After a signal, once the state is saved.
    """

    def __init__(
        self,
        run: RunDirectory,
        progress: Progress,
        settings: TrainingSettings,
        ends: list[int],
        signals: StopSignals,
        strategy: Strategy,
        sums: list[Any] | None = None,
        averages: AverageWeights | None = None,
    ) -> None:
        super().__init__()
        self.run, self.progress, self.settings, self.ends = run, progress, settings, ends
        self.signals, self.strategy = signals, strategy
        self.sums, self.averages = sums, averages
        self._saved_step, self._saved_at = progress.step, time.monotonic()

    def advice(self) -> str:
        """Says what to do about a loss that is no number."""
        skipped = self.progress.step + 1 - self._saved_step
        return (
            f"The state after step {self._saved_step} is the last good one; nothing later is "
            f"saved. Resume from it with other batches (--resume --skip-batches {skipped}, or "
            "more), or start a new run with a smaller learning rate or a longer warm-up."
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Goes on with the sums of the metrics, which Keras has just reset."""
        self._epoch, self._first_step = epoch, self.progress.step
        if self.sums is not None:
            for variable, value in zip(self.model.metrics_variables, self.sums, strict=True):
                variable.assign(value)
        self.sums = None

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the state if it is time to, and stops after a signal."""
        before, step = self.progress.step, self._first_step + batch + 1
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        self.progress = dataclasses.replace(self.progress, step=step, logs=numbers)
        asked = self._asked()
        every, minutes = self.settings.checkpoint_every, self.settings.checkpoint_minutes
        if (
            asked
            or step == self.ends[self._epoch]
            or (every and step // every > before // every)
            or (minutes and time.monotonic() - self._saved_at >= 60 * minutes)
        ):
            self._save()
        self._stop(asked)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Stops after a signal: the state was saved before the evaluation."""
        self._stop(self._asked())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Records what an evaluation found."""
        step = self.progress.step
        if self._saved_step != step:  # a callback has ended the epoch early
            self._save()
        logs = {**(logs or {}), "step": step}
        row = {name: float(logs[name]) for name in COLUMNS if name in logs}
        row["step"] = step
        if not math.isfinite(row["val_loss"]):
            raise ValueError(
                "The loss must stay a finite number. "
                f"Received: val_loss={row['val_loss']} in step {step}. Remove the last "
                "checkpoint and resume from the one before it with other batches "
                "(--resume --skip-batches 200), or start a new run with a smaller learning rate."
            )
        progress = dataclasses.replace(self.progress, history=(*self.progress.history, row))
        if progress.waited == 0:
            with self.averages.averaged() if self.averages else contextlib.nullcontext():
                self.run.save_model(self.model, progress)
        self.run.record(progress)
        self.progress = progress
        if progress.is_over(self.settings):
            self.model.stop_training = True
        else:
            self._stop(self._asked())

    def _save(self) -> None:
        """Saves the state, unless a weight is no number: the next loss would not be one."""
        getattr(self.model, "jax_state_sync", lambda: None)()
        for weight in self.model.trainable_variables:
            if not bool(ops.all(ops.isfinite(weight))):
                raise ValueError(
                    "Every weight must stay a finite number. "
                    f"Received: {weight.path} after step {self.progress.step}. {self.advice()}"
                )
        self.run.save(self.model, self.progress, self.settings.keep_checkpoints)
        self._saved_step, self._saved_at = self.progress.step, time.monotonic()

    def _asked(self) -> signal.Signals | None:
        """Returns the signal to stop by; SIGTERM where only another worker has one."""
        received = self.signals.received
        return received or signal.SIGTERM if self.strategy.any(received is not None) else None

    def _stop(self, asked: signal.Signals | None) -> None:
        if asked:
            self.strategy.any(True)  # no worker leaves before the chief has saved
            raise Stopped(asked, self._saved_step)
