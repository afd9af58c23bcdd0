"""A run that trains a classifier from a file of texts and labels: `train --task classify`."""

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gpt2_keras import checkpoints
from gpt2_keras.applications.task_rows import TaskRows, read_task_rows
from gpt2_keras.atomic import check_output_directory, new_directory, new_file
from gpt2_keras.finetuning.classifier import GPT2Classifier
from gpt2_keras.model import GPT2Model
from gpt2_keras.runs import RunDirectory, TrainingSettings
from gpt2_keras.runs.plots import plot_loss_curve
from gpt2_keras.training.optimizer import FINE_TUNING_LEARNING_RATE, make_optimizer
from gpt2_keras.training.schedule import default_warmup_steps
from gpt2_keras.validation import check_path

COLUMNS = ("step", "loss", "accuracy", "val_loss", "val_accuracy")


def train_classifier(
    settings: TrainingSettings,
    out: str | Path,
    *,
    model_class: type[GPT2Model],
    verbose: int | str = "auto",
) -> GPT2Classifier:
    """Trains a classifier and writes it to a run directory.

    The steps of the settings make whole epochs. After each the classifier is evaluated on the
    last examples of the file, and the best one is kept as `model`, with `history.csv` and
    `loss.png`. An interrupted run continues after its last whole epoch, see `resume_classifier`.

    Args:
        settings: The settings: `task="classify"`, `data`, `init`; of the others `steps`,
            `batch_size`, `learning_rate`, `weight_decay`, `clip_norm`, `schedule`,
            `warmup_steps`, `dropout_rate`, `validation_fraction`, `patience`, `seed` and `dtype`.
        out: The run directory, new or empty.
        model_class: `GPT2LM` or a subclass.
        verbose: As for `keras.Model.fit`.

    Returns:
        The best classifier, by validation loss.

    Raises:
        FileExistsError: If `out` is not empty.
        FileNotFoundError: If a file of the settings is not there.
        ValueError: If the file has fewer than two labels or examples, or a row is damaged.
    """
    directory = RunDirectory(Path(check_path("out", out)))
    check_output_directory(directory.path)
    rows = read_task_rows("classify", settings.data)
    _labels_of(rows)
    data = str(Path(settings.data).resolve())
    init = settings.init
    if init is not None and Path(init).exists():
        init = str(Path(init).resolve())
    directory.create(dataclasses.replace(settings, data=data, init=init))
    return _run(directory, rows, model_class, verbose)


def resume_classifier(
    out: str | Path, *, model_class: type[GPT2Model], verbose: int | str = "auto"
) -> GPT2Classifier:
    """Continues a run of `train_classifier` after its last whole epoch.

    Of a run that is over only the best classifier is loaded. Arguments, returns and errors are
    those of `train_classifier`.
    """
    directory = RunDirectory(Path(check_path("out", out)))
    settings = directory.settings()
    rows = read_task_rows("classify", settings.data)
    return _run(directory, rows, model_class, verbose)


def _run(
    directory: RunDirectory, rows: TaskRows, model_class: type[GPT2Model], verbose: int | str
) -> GPT2Classifier:
    """Trains from the last whole epoch on, and returns the best classifier."""
    settings = directory.settings()
    training, validation = rows.split(settings.validation_fraction)
    steps_per_epoch = math.ceil(len(training) / settings.batch_size)
    epochs = math.ceil(settings.steps / steps_per_epoch)
    with directory.locked():
        directory.recover()
        keeper = _Keeper(directory, steps_per_epoch, settings.patience)
        if not keeper.is_over(epochs):
            keras.utils.set_random_seed(settings.seed)
            classifier = _new_classifier(settings, rows, model_class)
            _compile(classifier, settings, epochs * steps_per_epoch)
            pairs = [_arrays(classifier, part) for part in (training, validation)]
            backup = keras.callbacks.BackupAndRestore(str(directory.checkpoints / "classifier"))
            classifier.fit(
                *pairs[0],
                batch_size=settings.batch_size,
                epochs=epochs,
                validation_data=pairs[1],
                verbose=verbose,
                callbacks=[backup, keeper],
            )
    return GPT2Classifier.from_preset(directory.model, model_class=model_class)


def read_history(directory: RunDirectory) -> list[dict[str, float]]:
    """Returns the rows of a classifier's `history.csv`: `step` and the other `COLUMNS`."""
    with directory.history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: float(value) for name, value in row.items()} | {"step": int(row["step"])}
        for row in rows
    ]


class _Keeper(keras.callbacks.Callback):
    """Keeps the best classifier and the history; stops when the patience runs out."""

    def __init__(self, directory: RunDirectory, steps_per_epoch: int, patience: int) -> None:
        super().__init__()
        self._directory, self._patience = directory, patience
        self._steps_per_epoch = steps_per_epoch
        self._rows: list[dict[str, float]] = []
        if directory.history.is_file():
            self._rows = read_history(directory)

    def is_over(self, epochs: int) -> bool:
        """Returns whether nothing is left to do."""
        return len(self._rows) >= epochs or self._has_no_patience()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the history, and the classifier if it is the best."""
        step = (epoch + 1) * self._steps_per_epoch
        row = {"step": step, **{name: float((logs or {})[name]) for name in COLUMNS[1:]}}
        self._rows = [*self._rows[:epoch], row]
        if row["val_loss"] <= min(each["val_loss"] for each in self._rows):
            with new_directory(self._directory.model, replace=True) as unfinished:
                self.model.save_to_preset(unfinished)
        with new_file(self._directory.history) as path, path.open("w", newline="") as file:
            writer: Any = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self._rows)
        losses = [[each[name] for each in self._rows] for name in ("loss", "val_loss")]
        plot_loss_curve(self._directory.loss_plot, [int(r["step"]) for r in self._rows], *losses)
        if self._has_no_patience():
            self.model.stop_training = True

    def _has_no_patience(self) -> bool:
        losses = [row["val_loss"] for row in self._rows]
        since_best = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        return 0 < self._patience <= since_best


def _new_classifier(
    settings: TrainingSettings, rows: TaskRows, model_class: type[GPT2Model]
) -> GPT2Classifier:
    changes: dict[str, Any] = {}
    if settings.dropout_rate is not None:
        changes["dropout_rate"] = settings.dropout_rate
    model = checkpoints.load(
        str(settings.init), model_class=model_class, dtype=settings.dtype, **changes
    )
    return GPT2Classifier(model, _labels_of(rows))


def _labels_of(rows: TaskRows) -> list[str]:
    """Returns the labels of the examples, sorted; raises a ValueError if there is one alone."""
    labels = sorted({row["label"] for _, row in rows.rows})
    if len(labels) < 2:
        raise ValueError(
            f"All {len(rows)} examples have the label {labels[0]!r}, and a classifier learns at "
            "least two. Add examples of another one."
        )
    return labels


def _compile(classifier: GPT2Classifier, settings: TrainingSettings, steps: int) -> None:
    warmup = settings.warmup_steps
    classifier.compile(
        optimizer=make_optimizer(
            settings.learning_rate or FINE_TUNING_LEARNING_RATE,
            total_steps=steps,
            warmup_steps=default_warmup_steps(steps) if warmup is None else warmup,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm or None,
            schedule=settings.schedule,
            final_learning_rate_ratio=settings.final_learning_rate_ratio,
        )
    )


def _arrays(classifier: GPT2Classifier, rows: TaskRows) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the inputs and the indices of the labels."""
    texts = [row["text"] for _, row in rows.rows]
    indices = [classifier.labels.index(row["label"]) for _, row in rows.rows]
    return classifier.encode(texts, special_tokens="none"), np.array(indices, "int32")
