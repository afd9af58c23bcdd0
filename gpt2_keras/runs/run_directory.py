"""The directory of a training run: what is where, and how it is kept whole."""

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
from gpt2_keras.runs.plots import draw_loss_curve
from gpt2_keras.runs.progress import Progress
from gpt2_keras.runs.settings import TrainingSettings

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model

COLUMNS = (
    "step",
    "loss",
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
    """The files of a run.

    Everything is written beside its place and renamed: what is there is whole.

    Args:
        path: The directory.
    """

    path: Path

    @property
    def settings_file(self) -> Path:
        """The settings, every default filled in."""
        return self.path / "settings.json"

    @property
    def model(self) -> Path:
        """The model directory of the best model so far."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """The last states of the whole training, one directory each."""
        return self.path / "checkpoints"

    @property
    def history(self) -> Path:
        """The losses, a line for each evaluation."""
        return self.path / "history.csv"

    @property
    def logs(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "logs"

    @property
    def samples(self) -> Path:
        """What the model says after each evaluation."""
        return self.path / "samples.txt"

    @property
    def picture(self) -> Path:
        """The loss curve."""
        return self.path / "loss.png"

    def create(self, settings: TrainingSettings) -> None:
        """Makes the directory, with the settings in it; it must not hold anything."""
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
            ValueError: If the file is damaged.
        """
        if not self.settings_file.is_file():
            raise FileNotFoundError(
                f"A run directory holds {self.settings_file.name}. "
                f"Received: {self.path}, which does not. Start a run there first."
            )
        try:
            return TrainingSettings.from_json(self.settings_file.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"The settings of a run are JSON. Received: {self.settings_file}: {error}. "
                "Mend the file, or start a new run."
            ) from error

    def last_checkpoint(self) -> Checkpoint | None:
        """Returns the newest checkpoint, or None."""
        checkpoints = self._all_checkpoints()
        return checkpoints[-1] if checkpoints else None

    def last_whole_checkpoint(self) -> Checkpoint | None:
        """Returns the newest checkpoint whose files are as they were written, or None.

        Newer ones that are damaged are removed, with a warning.

        Raises:
            ValueError: If all are damaged; then none is removed.
        """
        damaged: list[Checkpoint] = []
        for checkpoint in reversed(self._all_checkpoints()):
            damage = checkpoint.damage()
            if damage is None:
                break
            damaged.append(checkpoint)
            last_damage = f"{checkpoint.path.name}: {damage}"
        else:
            if not damaged:
                return None
            best = f"from its best model (--init {self.path})" if self.model.is_dir() else "instead"
            raise ValueError(
                "A run goes on from a checkpoint, and none is whole. "
                f"Received: {self.checkpoints}, {last_damage}. Start a new run {best}."
            )
        for broken in damaged:
            shutil.rmtree(broken.path)
        if damaged:
            warnings.warn(
                f"{last_damage}. It is removed, and the run goes on from "
                f"{checkpoint.path.name}, which is whole.",
                stacklevel=2,
            )
        return checkpoint

    def progress(self) -> Progress:
        """Returns how far the newest checkpoint has come that can be read."""
        for checkpoint in reversed(self._all_checkpoints()):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                return checkpoint.progress
        return Progress()

    def save(self, model: "GPT2Model", progress: Progress, keep: int) -> None:
        """Writes the state of the training.

        Args:
            model: The model, compiled.
            progress: How far it has come.
            keep: Number of checkpoints to keep, this one included.

        Raises:
            OSError: If a file cannot be written, as on a full disk. What was
                there before is kept.
        """
        with self._writing(progress):
            Checkpoint(self.checkpoints / f"step-{progress.step:08d}").write(model, progress)
            for old in self._all_checkpoints()[:-keep]:
                shutil.rmtree(old.path)

    def record(self, progress: Progress) -> None:
        """Writes what an evaluation has found after the step of the newest checkpoint.

        Raises:
            OSError: As `save`.
        """
        checkpoint = self.last_checkpoint()
        assert checkpoint is not None  # noqa: S101 -- tells the type checker
        with self._writing(progress):
            # The checkpoint last: a run killed in between makes the evaluation again.
            self.write_history(progress)
            checkpoint.record(progress)

    def save_model(self, model: "GPT2Model", progress: Progress) -> None:
        """Writes the model directory of the best model.

        Raises:
            OSError: As `save`.
        """
        with self._writing(progress), new_directory(self.model, replace=True) as directory:
            model.save_to_preset(directory)

    def write_history(self, progress: Progress) -> None:
        """Writes the table of the losses, and draws their curve."""
        # Keras' CSVLogger appends, and would write some lines twice after a resume.
        with new_file(self.history) as path, path.open("w", newline="", encoding="utf-8") as file:
            writer: Any = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(progress.history)
        columns = [[row[name] for row in progress.history] for name in ("loss", "val_loss")]
        draw_loss_curve(self.picture, [int(row["step"]) for row in progress.history], *columns)

    def recover(self) -> None:
        """Clears up what a killed process left half-written."""
        recover(self.path)
        recover(self.checkpoints)

    @contextlib.contextmanager
    def _writing(self, progress: Progress) -> Iterator[None]:
        """Says what is kept if a file cannot be written."""
        try:
            yield
        except OSError as error:
            kept = self.last_checkpoint()
            raise OSError(
                f"The run must be able to write to its directory. Received: {self.path} in step "
                f"{progress.step}: {error}. Make room and resume: "
                f"{'nothing is saved yet' if kept is None else f'{kept.path.name} is whole'}."
            ) from error

    def _all_checkpoints(self) -> list[Checkpoint]:
        """Returns the checkpoints, the newest last."""
        paths = [path for path in self.checkpoints.glob("step-*") if path.is_dir()]
        return [Checkpoint(path) for path in sorted(paths)]


class FollowedRunDirectory(RunDirectory):
    """The run directory as processes see it that are not the chief: they only read it."""

    def create(self, settings: TrainingSettings) -> None:
        """Leaves it to the chief, as all below."""

    def change_settings(self, settings: TrainingSettings) -> None: ...  # noqa: D102

    def save(self, model: "GPT2Model", progress: Progress, keep: int) -> None: ...  # noqa: D102

    def record(self, progress: Progress) -> None: ...  # noqa: D102

    def save_model(self, model: "GPT2Model", progress: Progress) -> None: ...  # noqa: D102

    def recover(self) -> None: ...  # noqa: D102
