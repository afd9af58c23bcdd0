"""The directory of a training run: what is where, and how it is kept whole."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from gpt2_keras.atomic import new_directory, new_file
from gpt2_keras.training.picture import draw_loss_curve
from gpt2_keras.training.settings import TrainingSettings

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2LM

CHECKPOINTS_KEPT = 2
COLUMNS = (
    "step",
    "loss",
    "perplexity",
    "val_loss",
    "val_perplexity",
    "learning_rate",
    "tokens_per_second",
)
MODEL_FILE, PROGRESS_FILE = "model.keras", "progress.json"


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Args:
        history: A row of `COLUMNS` for each evaluation; where one is unknown it
            is left out.

    Example:
        >>> rows = [{"step": 5, "val_loss": 2.0}, {"step": 10, "val_loss": 3.0}]
        >>> progress = Progress(tuple(rows))
        >>> progress.step, progress.best["step"], progress.waited
        (10, 5, 1)
    """

    history: tuple[dict[str, float], ...] = ()

    @property
    def step(self) -> int:
        """Number of steps done."""
        return int(self.history[-1]["step"]) if self.history else 0

    @property
    def best(self) -> dict[str, float]:
        """The row of the lowest validation loss, the first of equals."""
        return min(self.history, key=lambda row: row["val_loss"])

    @property
    def waited(self) -> int:
        """Number of evaluations since the best one."""
        return len(self.history) - 1 - self.history.index(self.best) if self.history else 0

    def is_over(self, settings: TrainingSettings) -> bool:
        """Tells whether the steps are done or patience has ended."""
        out_of_patience = bool(settings.patience) and self.waited >= settings.patience
        return self.step >= settings.steps or out_of_patience


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
    def picture(self) -> Path:
        """The loss curve."""
        return self.path / "loss.png"

    def create(self, settings: TrainingSettings) -> None:
        """Makes the directory, with the settings in it; it must not hold anything."""
        with new_directory(self.path) as directory:
            (directory / self.settings_file.name).write_text(settings.to_json(), encoding="utf-8")

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

    def last_checkpoint(self) -> Path | None:
        """Returns the directory of the newest checkpoint, or None."""
        return max(self._all_checkpoints(), default=None)

    def progress(self) -> Progress:
        """Returns how far the newest checkpoint has come."""
        checkpoint = self.last_checkpoint()
        if checkpoint is None:
            return Progress()
        return Progress(tuple(_read_json(checkpoint / PROGRESS_FILE)["history"]))

    def load(self) -> "GPT2LM | None":
        """Loads the model of the newest checkpoint, compiled; None if there is no checkpoint."""
        checkpoint = self.last_checkpoint()
        if checkpoint is None:
            return None
        model: GPT2LM = keras.saving.load_model(checkpoint / MODEL_FILE)
        states = _read_json(checkpoint / PROGRESS_FILE)["random_states"]
        for variable, state in zip(_random_states(model), states, strict=True):
            variable.assign(state)
        return model

    def save(self, model: "GPT2LM", progress: Progress) -> None:
        """Writes the state of the training, and the model if it is the best so far.

        Raises:
            OSError: If a file cannot be written, as on a full disk. What was
                there before is kept.
        """
        try:
            if progress.waited == 0:
                self._save_model(model)
            self._save_checkpoint(model, progress)
            self._write_history(progress)
            self.draw(progress)
        except OSError as error:
            kept = self.last_checkpoint()
            raise OSError(
                f"The run must be able to write to its directory. Received: {self.path} in step "
                f"{progress.step}: {error}. Make room and resume: "
                f"{'nothing is saved yet' if kept is None else f'{kept.name} is whole'}."
            ) from error

    def draw(self, progress: Progress) -> None:
        """Draws the loss curve."""
        columns = [[row[name] for row in progress.history] for name in ("loss", "val_loss")]
        draw_loss_curve(self.picture, [int(row["step"]) for row in progress.history], *columns)

    def remove_unfinished(self) -> None:
        """Removes what a killed process left half-written."""
        for folder in (self.path, self.checkpoints):
            for leftover in folder.glob(".*.unfinished"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def _all_checkpoints(self) -> list[Path]:
        return [path for path in self.checkpoints.glob("step-*") if path.is_dir()]

    def _save_model(self, model: "GPT2LM") -> None:
        with new_directory(self.model, replace=True) as directory:
            model.save_to_preset(directory)

    def _save_checkpoint(self, model: "GPT2LM", progress: Progress) -> None:
        """Writes the newest checkpoint and removes the oldest."""
        place = self.checkpoints / f"step-{progress.step:08d}"
        with new_directory(place, replace=True) as directory:
            model.save(directory / MODEL_FILE)
            # Keras leaves the state of the dropout out of its file.
            states = [keras.ops.convert_to_numpy(state).tolist() for state in _random_states(model)]
            text = json.dumps({"history": progress.history, "random_states": states}, indent=1)
            (directory / PROGRESS_FILE).write_text(text + "\n", encoding="utf-8")
        for old in sorted(self._all_checkpoints())[:-CHECKPOINTS_KEPT]:
            shutil.rmtree(old)

    def _write_history(self, progress: Progress) -> None:
        # Keras' CSVLogger appends, and would write some lines twice after a resume.
        with new_file(self.history) as path, path.open("w", newline="", encoding="utf-8") as file:
            writer: Any = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(progress.history)


def _random_states(model: "GPT2LM") -> list[Any]:
    """Returns the variables that the dropout layers draw their numbers from."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
