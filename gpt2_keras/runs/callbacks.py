"""Callbacks for any `fit`: speed, learning rate, finite loss, TensorBoard by steps."""

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

    Both are means since the epoch began, without the time of the first batch, which
    compiles, and of the validation. Give it to `fit` before callbacks that read them.

    Args:
        tokens_per_step: Tokens per batch: `batch_size * context_length`.
        flops_per_token: FLOPs per token of training, see `mfu.flops_per_token`.
        peak_flops: FLOP/s of the hardware, see `mfu.find_peak`. With both, `mfu` is
            the fraction of it that the training uses.

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
        self._mfu_per_rate = (flops_per_token or math.nan) / (peak_flops or math.nan)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Restarts the clock."""
        self._start: tuple[float, int] | None = None
        self._rate = math.nan

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the figures to the logs of the batch."""
        now = time.perf_counter()
        if self._start is None:
            self._start = now, batch
            return
        # Calls are not counted: with `steps_per_execution` there are fewer than batches.
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
        if math.isfinite(self._mfu_per_rate):
            logs["mfu"] = self._rate * self._mfu_per_rate


class LearningRate(keras.callbacks.Callback):
    """Adds `learning_rate`, that of the next step, to the logs."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Adds it to the logs of the batch, or of the epoch."""
        if logs is not None:
            logs["learning_rate"] = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))

    on_epoch_end = on_train_batch_end


class RequireFiniteLoss(keras.callbacks.Callback):
    """Raises an error in the batch whose loss is NaN or infinite.

    Keras' `TerminateOnNaN` stops too, but then evaluates and saves the model.

    Args:
        first_step: The step of the first batch, counted from 1.
        advice: Returns the end of the message: what to do.

    Raises:
        ValueError: In that batch.
    """

    def __init__(
        self,
        first_step: int = 1,
        advice: Callable[[], str] = lambda: "Use a smaller learning rate or a longer warm-up.",
    ) -> None:
        super().__init__()
        self.step, self.advice = first_step - 1, advice

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Checks the loss."""
        self.step += 1
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise ValueError(f"loss={loss} is not finite in step {self.step}. {self.advice()}")


class StepTensorBoard(keras.callbacks.TensorBoard):
    """Keras' TensorBoard with steps instead of epochs on its axis.

    Beside the metrics of each epoch it writes those of single batches, as
    `batch_loss` and so on.

    Args:
        log_dir: Directory of the event files.
        epoch_ends: The last step of each epoch.
        first_step: Number of steps done before.
        every: Number of steps between two batches whose metrics are written.
    """

    def __init__(
        self, log_dir: str, epoch_ends: Mapping[int, int], first_step: int = 0, every: int = 10
    ) -> None:
        super().__init__(log_dir, write_graph=False)
        self.epoch_ends, self.every = epoch_ends, every
        self._steps_done = self._written = first_step

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the metrics of one batch in `every`."""
        step = self._steps_done + batch + 1
        # Keras' own `update_freq` counts calls, which `steps_per_execution` makes fewer.
        if step // self.every > self._written // self.every:
            self._written = step
            with train_writer(self).as_default():
                for name, value in (logs or {}).items():
                    self.summary.scalar(f"batch_{name}", value, step=step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the metrics of an epoch."""
        self._steps_done = self.epoch_ends[epoch]
        super().on_epoch_end(self._steps_done, logs)

    def write_text(self, name: str, text: str, step: int) -> None:
        """Writes a text, to be shown verbatim, for a step."""
        shown = textwrap.indent(text, "    ", lambda _: True)  # verbatim in Markdown
        with train_writer(self).as_default():
            self.summary.text(name, shown, step=step)
