"""How far a run has come."""

import dataclasses

from gpt2_keras.runs.settings import TrainingSettings


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Args:
        history: A row for each evaluation, with its `step`, its `val_loss` and
            other columns of `history.csv`; where one is unknown it is left out.
        step: Number of steps done.
        skipped: Number of batches that were left out of the data so far.
        logs: What Keras logged with the last step, the mean loss among it.

    Example:
        >>> rows = [{"step": 5, "val_loss": 2.0}, {"step": 10, "val_loss": 3.0}]
        >>> progress = Progress(tuple(rows), step=12)
        >>> progress.evaluated, progress.best["step"], progress.waited
        (10, 5, 1)
    """

    history: tuple[dict[str, float], ...] = ()
    step: int = 0
    skipped: int = 0
    logs: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def evaluated(self) -> int:
        """The step of the last evaluation."""
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
        """Tells whether the last step is evaluated or patience has ended."""
        out_of_patience = bool(settings.patience) and self.waited >= settings.patience
        return self.evaluated >= settings.steps or out_of_patience
