"""What happens after each evaluation of a run."""

import math
from typing import Any

import keras
from keras import ops

from gpt2_keras.training.run_directory import COLUMNS, Progress, RunDirectory
from gpt2_keras.training.settings import TrainingSettings


class Recorder(keras.callbacks.Callback):
    """Saves the run after each evaluation, and stops it when patience ends.

    Args:
        run: Where to save.
        progress: How far the run has come before.
        settings: Those of the run.
        ends: The step that each epoch ends with.

    Raises:
        ValueError: At the end of an epoch, if the validation loss is no number.
        OSError: If a file cannot be written; see `RunDirectory.save`.
    """

    def __init__(
        self, run: RunDirectory, progress: Progress, settings: TrainingSettings, ends: list[int]
    ) -> None:
        super().__init__()
        self.run, self.progress, self.settings, self.ends = run, progress, settings, ends

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Records what an evaluation found."""
        logs = {**(logs or {}), "step": self.ends[epoch]}
        logs["learning_rate"] = ops.convert_to_numpy(self.model.optimizer.learning_rate)
        row = {name: float(logs[name]) for name in COLUMNS if name in logs}
        row["step"] = self.ends[epoch]
        if not math.isfinite(row["val_loss"]):
            raise ValueError(
                "The loss must stay a finite number. "
                f"Received: val_loss={row['val_loss']} in step {row['step']}. "
                "Use a smaller learning rate or a longer warm-up."
            )
        progress = Progress((*self.progress.history, row))
        self.run.save(self.model, progress)
        self.progress = progress
        self.model.stop_training = progress.is_over(self.settings)
