"""The directory of a run: its files, written as a whole or not at all."""

import contextlib
import csv
import dataclasses
import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2_keras.atomic import new_directory, new_file, recover
from gpt2_keras.runs.checkpoint import Checkpoint
from gpt2_keras.runs.lock import run_lock
from gpt2_keras.runs.plots import plot_loss_curve
from gpt2_keras.runs.progress import Progress
from gpt2_keras.runs.settings import TrainingSettings

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model

COLUMNS = (
    "step",
    "loss",
    "cross_entropy",  # of a student, whose loss has more in it
    "perplexity",
    "val_loss",
    "val_perplexity",
    "learning_rate",
    "gradient_norm",
    "tokens_per_second",
    "mfu",
)


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """The directory of a run and its files.

    Every file is written under a temporary name and renamed: what is there is whole.

    Args:
        path: The directory.
    """

    path: Path

    @property
    def settings_file(self) -> Path:
        """The settings, with every default filled in."""
        return self.path / "settings.json"

    @property
    def model(self) -> Path:
        """The model directory of the best model so far."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """The directory of the checkpoints, the last ones."""
        return self.path / "checkpoints"

    @property
    def history(self) -> Path:
        """The losses and other metrics, a line for each evaluation."""
        return self.path / "history.csv"

    @property
    def logs(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "logs"

    @property
    def samples(self) -> Path:
        """The texts that the model generates after each evaluation."""
        return self.path / "samples.txt"

    @property
    def loss_plot(self) -> Path:
        """The plot of the loss curve."""
        return self.path / "loss.png"

    def create(self, settings: TrainingSettings) -> None:
        """Makes the directory, which must be new or empty, with the settings in it."""
        with new_directory(self.path) as directory:
            (directory / self.settings_file.name).write_text(settings.to_json(), encoding="utf-8")

    def change_settings(self, settings: TrainingSettings) -> None:
        """Replaces the settings."""
        with new_file(self.settings_file) as file:
            file.write_text(settings.to_json(), encoding="utf-8")

    def settings(self) -> TrainingSettings:
        """Reads the settings.

        Raises:
            FileNotFoundError: If this is no run directory.
            ValueError: If the file is not JSON, or not of training settings.
        """
        if not self.settings_file.is_file():
            raise FileNotFoundError(
                f"{self.path} is no run directory: it has no {self.settings_file.name}. Start a "
                "run there first."
            )
        try:
            return TrainingSettings.from_json(self.settings_file.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{self.settings_file} is not JSON: {error}. Repair the file, or start a new run."
            ) from error

    def last_checkpoint(self) -> Checkpoint | None:
        """Returns the newest checkpoint, or None."""
        checkpoints = self.all_checkpoints()
        return checkpoints[-1] if checkpoints else None

    def last_whole_checkpoint(self) -> Checkpoint | None:
        """Returns the newest checkpoint whose files are as they were written, or None.

        Newer ones, which are damaged, are removed with a warning.

        Raises:
            ValueError: If all are damaged; then none is removed.
        """
        checkpoints, damaged = self.all_checkpoints(), []
        while checkpoints and (damage := checkpoints[-1].damage()):
            damaged.append(checkpoints.pop())
            last_damage = f"{damaged[-1].path.name}: {damage}"
        if not damaged:
            return checkpoints[-1] if checkpoints else None
        if not checkpoints:
            best = f"from its best model (--init {self.path})" if self.model.is_dir() else "instead"
            raise ValueError(
                f"Every checkpoint in {self.checkpoints} is damaged: {last_damage}. "
                f"Start a new run {best}."
            )
        for broken in damaged:
            shutil.rmtree(broken.path)
        warnings.warn(
            f"{last_damage}. It is removed, and the run continues from "
            f"{checkpoints[-1].path.name}, which is whole.",
            stacklevel=2,
        )
        return checkpoints[-1]

    def progress(self) -> Progress:
        """Returns the progress of the newest checkpoint that can be read."""
        for checkpoint in reversed(self.all_checkpoints()):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                return checkpoint.progress
        return Progress()

    def save(self, model: "GPT2Model", progress: Progress, keep: int) -> None:
        """Writes a checkpoint, and removes old ones.

        Args:
            model: The model, compiled.
            progress: The progress of the run.
            keep: Number of checkpoints to keep, this one included.

        Raises:
            OSError: If a file cannot be written, as on a full disk. Everything that
                was there before is kept.
        """
        with self._writing(progress):
            Checkpoint(self.checkpoints / f"step-{progress.step:08d}").write(model, progress)
            for old in self.all_checkpoints()[:-keep]:
                shutil.rmtree(old.path)

    def record(self, progress: Progress) -> None:
        """Writes the result of the evaluation after the step of the newest checkpoint.

        Raises:
            OSError: As `save`.
        """
        with self._writing(progress):
            # The checkpoint last: a run killed in between evaluates again.
            self.write_history(progress)
            self.all_checkpoints()[-1].record(progress)

    def save_model(self, model: "GPT2Model", progress: Progress) -> None:
        """Writes the model directory of the best model.

        Raises:
            OSError: As `save`.
        """
        with self._writing(progress), new_directory(self.model, replace=True) as directory:
            model.save_to_preset(directory)

    def write_history(self, progress: Progress) -> None:
        """Writes the table of the losses, and their plot."""
        # Keras' CSVLogger appends, and would write some lines twice after a resume.
        with new_file(self.history) as path, path.open("w", newline="", encoding="utf-8") as file:
            is_student = any("cross_entropy" in row for row in progress.history)
            columns = [name for name in COLUMNS if is_student or name != "cross_entropy"]
            writer: Any = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(progress.history)
        # A student's validation loss is its cross entropy alone.
        losses = [row.get("cross_entropy", row["loss"]) for row in progress.history]
        steps = [int(row["step"]) for row in progress.history]
        plot_loss_curve(
            self.loss_plot, steps, losses, [row["val_loss"] for row in progress.history]
        )

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Returns a block that no other process may enter; see `run_lock`."""
        return run_lock(self.path)

    def recover(self) -> None:
        """Removes or completes what a killed process left half-written; only if `locked`."""
        recover(self.path)
        recover(self.checkpoints)

    @contextlib.contextmanager
    def _writing(self, progress: Progress) -> Iterator[None]:
        """Adds to an error of writing which checkpoint is whole."""
        try:
            yield
        except OSError as error:
            kept = self.last_checkpoint()
            raise OSError(
                f"{self.path} could not be written in step {progress.step}: {error}. "
                "Make room and resume: "
                f"{'nothing is saved yet' if kept is None else f'{kept.path.name} is whole'}."
            ) from error

    def all_checkpoints(self) -> list[Checkpoint]:
        """Returns the checkpoints, the newest last."""
        paths = [path for path in self.checkpoints.glob("step-*") if path.is_dir()]
        return [Checkpoint(path) for path in sorted(paths)]


class ReadOnlyRunDirectory(RunDirectory):
    """The run directory of a process that is not the chief and only reads it."""

    def create(self, settings: TrainingSettings) -> None:
        """Does nothing, like every method below: the chief writes."""

    def change_settings(self, settings: TrainingSettings) -> None: ...  # noqa: D102

    def save(self, model: "GPT2Model", progress: Progress, keep: int) -> None: ...  # noqa: D102

    def record(self, progress: Progress) -> None: ...  # noqa: D102

    def save_model(self, model: "GPT2Model", progress: Progress) -> None: ...  # noqa: D102

    def recover(self) -> None: ...  # noqa: D102

    def locked(self) -> contextlib.AbstractContextManager[None]:  # noqa: D102
        return contextlib.nullcontext()
