"""What a run adds to Keras' own callbacks."""

import math
import textwrap
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from gpt2_keras.private_api.keras import train_writer


class TokensPerSecond(keras.callbacks.Callback):
    """Adds `tokens_per_second` to the logs, and so to the progress bar; and `mfu`.

    The figure of a batch is the mean since the epoch began; the time of
    validation does not count, nor does that of the first batch, which compiles.
    Give it to `fit` before callbacks that read it.

    Args:
        tokens_per_step: Tokens in a batch: `batch_size * context_length`.
        flops_per_token: FLOPs of training on one, see `flops_per_token`.
        peak_flops: FLOP/s of the hardware, see `find_peak`. With both, `mfu` is
            the share of it that the training uses.

    Example:
        >>> callback = TokensPerSecond(tokens_per_step=12 * 64)
    """

    def __init__(
        self,
        tokens_per_step: int,
        flops_per_token: float | None = None,
        peak_flops: float | None = None,
    ) -> None:
        super().__init__()
        self.tokens_per_step = tokens_per_step
        self._mfu_of_one = (
            flops_per_token / peak_flops if flops_per_token and peak_flops else math.nan
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Starts the clock anew."""
        self._start: tuple[float, int] | None = None
        self._rate = math.nan

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the figures to the logs of the batch."""
        now = time.perf_counter()
        if self._start is None:
            self._start = now, batch
            return
        # Not by counting the calls: with `steps_per_execution` there are fewer.
        start, first = self._start
        self._rate = (batch - first) * self.tokens_per_step / (now - start)
        self._add(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Adds the figures to the logs of the epoch."""
        self._add(logs)

    def _add(self, logs: dict[str, Any] | None) -> None:
        if logs is None or not math.isfinite(self._rate):
            return
        logs["tokens_per_second"] = round(self._rate)
        if math.isfinite(self._mfu_of_one):
            logs["mfu"] = self._rate * self._mfu_of_one


class LearningRate(keras.callbacks.Callback):
    """Adds `learning_rate` to the logs: the one that the next step will have."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Adds it to the logs of the batch."""
        self._add(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Adds it to the logs of the epoch."""
        self._add(logs)

    def _add(self, logs: dict[str, Any] | None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))


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

    Beside the metrics of each epoch it writes those of single batches, as
    `batch_loss` and so on.

    Args:
        log_dir: Folder of the event files.
        steps_after: The step that each epoch ends with.
        first_step: Number of steps done before.
        every: Number of steps between two batches that are written.
    """

    def __init__(
        self, log_dir: str, steps_after: Mapping[int, int], first_step: int = 0, every: int = 10
    ) -> None:
        super().__init__(log_dir, write_graph=False)
        self.steps_after, self.every = steps_after, every
        self._done = self._written = first_step

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the metrics of a batch, of one in `every`."""
        step = self._done + batch + 1
        # Keras' own `update_freq` counts calls, which `steps_per_execution` makes fewer.
        if step // self.every > self._written // self.every:
            self._written = step
            with train_writer(self).as_default():
                for name, value in (logs or {}).items():
                    self.summary.scalar(f"batch_{name}", value, step=step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the metrics of an epoch."""
        self._done = self.steps_after[epoch]
        super().on_epoch_end(self._done, logs)

    def write_text(self, name: str, text: str, step: int) -> None:
        """Shows a text, as it is, among those of a step."""
        shown = textwrap.indent(text, "    ", lambda _: True)  # Markdown for "as it is"
        with train_writer(self).as_default():
            self.summary.text(name, shown, step=step)
