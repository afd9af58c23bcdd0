"""What a run adds to Keras' own callbacks."""

import math
import time
from collections.abc import Callable
from typing import Any

import keras


class TokensPerSecond(keras.callbacks.Callback):
    """Adds `tokens_per_second` to the logs, and so to the progress bar.

    The figure of a batch is the mean since the epoch began; the time of
    validation does not count, nor does that of the first batch, which compiles.
    Give it to `fit` before callbacks that read it.

    Args:
        tokens_per_step: Tokens in a batch: `batch_size * context_length`.

    Example:
        >>> callback = TokensPerSecond(tokens_per_step=12 * 64)
    """

    def __init__(self, tokens_per_step: int) -> None:
        super().__init__()
        self.tokens_per_step = tokens_per_step

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Starts the clock anew."""
        self._start: float | None = None
        self._steps = 0
        self._rate = math.nan

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Adds the figure to the logs of the batch."""
        now = time.perf_counter()
        if self._start is None:
            self._start = now
            return
        self._steps += 1
        self._rate = self._steps * self.tokens_per_step / (now - self._start)
        if logs is not None:
            # The progress bar shows the mean of what it is given, which of means is good enough.
            logs["tokens_per_second"] = round(self._rate)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Adds the figure to the logs of the epoch."""
        if logs is not None and math.isfinite(self._rate):
            logs["tokens_per_second"] = round(self._rate)


class RequireFiniteLoss(keras.callbacks.Callback):
    """Stops training with an error when the loss is no longer a number.

    Keras' `TerminateOnNaN` stops too, but then evaluates and saves as if all
    were well.

    Args:
        first_step: The step that the first batch counts as, from 1 on.
        advice: Says what to do, for the error.

    Raises:
        ValueError: In the batch in question.
    """

    def __init__(
        self,
        first_step: int = 1,
        advice: Callable[[], str] = lambda: "Use a smaller learning rate or a longer warm-up.",
    ) -> None:
        super().__init__()
        self.step, self.advice = first_step - 1, advice

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Looks at the loss."""
        self.step += 1
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise ValueError(
                "The loss must stay a finite number. "
                f"Received: loss={loss} in step {self.step}. {self.advice()}"
            )


class StepTensorBoard(keras.callbacks.TensorBoard):
    """Keras' TensorBoard with steps on its axis, and not epochs.

    Args:
        log_dir: Folder of the event files.
        steps_after: The step that each epoch ends with.
    """

    def __init__(self, log_dir: str, steps_after: dict[int, int]) -> None:
        super().__init__(log_dir, write_graph=False)
        self.steps_after = steps_after

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the metrics of an epoch."""
        super().on_epoch_end(self.steps_after[epoch], logs)
