"""The progress of a run: steps done, history of its evaluations."""

import dataclasses

from gpt2_keras.runs.settings import TrainingSettings


@dataclasses.dataclass(frozen=True)
class Progress:
    """The progress of a run, as `progress.json` of a checkpoint has it.

    Args:
        history: A row for each evaluation, with its `step`, its `val_loss` and
            those of the other columns of `history.csv` that are known.
        step: Number of steps done.
        skipped: Number of batches of the data that were skipped so far.
        logs: Keras' logs of the last step, with the mean loss since the last evaluation.
        device: The device of the last step, as `str(current_device())`; empty if not known.

    Example:
        >>> rows = [{"step": 5, "val_loss": 2.0}, {"step": 10, "val_loss": 3.0}]
        >>> progress = Progress(tuple(rows), step=12)
        >>> progress.evaluated_step, progress.best["step"], progress.evaluations_since_best
        (10, 5, 1)
    """

    history: tuple[dict[str, float], ...] = ()
    step: int = 0
    skipped: int = 0
    logs: dict[str, float] = dataclasses.field(default_factory=dict)
    device: str = ""

    @property
    def evaluated_step(self) -> int:
        """The step of the last evaluation."""
        return int(self.history[-1]["step"]) if self.history else 0

    @property
    def best(self) -> dict[str, float]:
        """The row of the lowest validation loss, the first one of several."""
        return min(self.history, key=lambda row: row["val_loss"])

    @property
    def evaluations_since_best(self) -> int:
        """Number of evaluations since the best one."""
        return len(self.history) - 1 - self.history.index(self.best) if self.history else 0

    def is_over(self, settings: TrainingSettings) -> bool:
        """Returns whether the last step is evaluated or the patience has run out."""
        is_patient = not settings.patience or self.evaluations_since_best < settings.patience
        return self.evaluated_step >= settings.steps or not is_patient
