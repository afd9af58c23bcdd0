"""Writes the checkpoints and the best model of a run, and stops it."""

import contextlib
import dataclasses
import math
import signal
import time
from typing import Any

import keras
from keras import ops

from gpt2_keras.runs.ema import EMAWeights
from gpt2_keras.runs.progress import Progress
from gpt2_keras.runs.run_directory import COLUMNS, RunDirectory
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.runs.signals import Stopped, StopSignals
from gpt2_keras.runs.strategies import Strategy


class CheckpointCallback(keras.callbacks.Callback):
    """Saves a run; stops it at a signal and when its patience runs out.

    A checkpoint is written before each evaluation, and between them as the settings
    say. The result of the evaluation is added to the checkpoint afterwards: a run
    killed in between is resumed with the evaluation.

    Args:
        directory: The run directory.
        progress: The progress of the run so far.
        settings: The settings of the run.
        epoch_ends: The last step of each epoch.
        signals: Records whether a signal has come.
        strategy: Makes workers that train together stop together.
        metric_sums: Values of the metrics' variables, for a run resumed inside an epoch.
        ema: Swaps the averaged weights in, if those are to be saved.

    Raises:
        ValueError: If the validation loss or a weight is not finite.
        OSError: If a file cannot be written; see `RunDirectory.save`.
        Stopped: After a signal, once the checkpoint is written.
    """

    def __init__(
        self,
        directory: RunDirectory,
        progress: Progress,
        settings: TrainingSettings,
        epoch_ends: list[int],
        signals: StopSignals,
        strategy: Strategy,
        metric_sums: list[Any] | None = None,
        ema: EMAWeights | None = None,
    ) -> None:
        super().__init__()
        self.directory, self.progress, self.settings = directory, progress, settings
        self.epoch_ends, self.signals, self.strategy = epoch_ends, signals, strategy
        self.metric_sums, self.ema = metric_sums, ema
        self._saved_step, self._saved_at = progress.step, time.monotonic()

    def advice(self) -> str:
        """Returns what to do about a loss or a weight that is not finite."""
        skipped = self.progress.step + 1 - self._saved_step
        return (
            f"The state after step {self._saved_step} is the last good one; nothing later is "
            f"saved. Resume from it with other batches (--resume --skip-batches {skipped}, or "
            "more), or start a new run with a smaller learning rate or a longer warm-up."
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Restores the sums of the metrics, which Keras has just reset."""
        self._epoch, self._first_step = epoch, self.progress.step
        if self.metric_sums is not None:
            for variable, value in zip(self.model.metrics_variables, self.metric_sums, strict=True):
                variable.assign(value)
        self.metric_sums = None

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a checkpoint if one is due, and stops after a signal."""
        before, step = self.progress.step, self._first_step + batch + 1
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.progress = dataclasses.replace(self.progress, step=step, logs=values)
        received = self._received_signal()
        every, minutes = self.settings.checkpoint_every, self.settings.checkpoint_minutes
        if (
            received
            or step == self.epoch_ends[self._epoch]
            or (every and step // every > before // every)
            or (minutes and time.monotonic() - self._saved_at >= 60 * minutes)
        ):
            self._save()
        self._stop(received)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Stops after a signal: the checkpoint was written before the evaluation."""
        self._stop(self._received_signal())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Records the result of an evaluation, and saves the model if it is the best."""
        step = self.progress.step
        if self._saved_step != step:  # a callback has ended the epoch early
            self._save()
        logs = logs or {}
        row = {"step": step, **{name: float(logs[name]) for name in COLUMNS[1:] if name in logs}}
        if not math.isfinite(row["val_loss"]):
            raise ValueError(
                f"val_loss={row['val_loss']} is not finite in step {step}. Remove the last "
                "checkpoint and resume from the one before it with other batches "
                "(--resume --skip-batches 200), or start a new run with a smaller learning rate."
            )
        progress = dataclasses.replace(self.progress, history=(*self.progress.history, row))
        if progress.evaluations_since_best == 0:
            with self.ema.averaged() if self.ema else contextlib.nullcontext():
                self.directory.save_model(self.model, progress)
        self.directory.record(progress)
        self.progress = progress
        if progress.is_over(self.settings):
            self.model.stop_training = True
        else:
            self._stop(self._received_signal())

    def _save(self) -> None:
        """Writes a checkpoint, unless a weight is not finite: nor would the next loss be."""
        getattr(self.model, "jax_state_sync", lambda: None)()
        for weight in self.model.trainable_variables:
            if not bool(ops.all(ops.isfinite(weight))):
                raise ValueError(
                    f"{weight.path} has values that are not finite after step "
                    f"{self.progress.step}. {self.advice()}"
                )
        self.directory.save(self.model, self.progress, self.settings.keep_checkpoints)
        self._saved_step, self._saved_at = self.progress.step, time.monotonic()

    def _received_signal(self) -> signal.Signals | None:
        """Returns the signal to stop by; SIGTERM if only another worker has received one."""
        received = self.signals.received
        return received or signal.SIGTERM if self.strategy.any(received is not None) else None

    def _stop(self, received: signal.Signals | None) -> None:
        if received:
            self.strategy.any(True)  # no worker leaves before the chief has saved
            raise Stopped(received, self._saved_step)
