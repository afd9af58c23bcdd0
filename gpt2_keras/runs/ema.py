"""Evaluates and saves a model with the moving averages (EMA) of its weights."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from gpt2_keras.private_api.keras import averaged_weights


class EMAWeights(keras.callbacks.Callback):
    """Evaluates with the averages that an optimizer made with `use_ema=True` keeps.

    Training continues with the weights themselves, to the last bit: Keras' own
    `SwapEMAWeights` swaps the two by additions, which round, and leaves the averages
    in the model at the end of each `fit`.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Lets the optimizer update the averages."""
        self._optimizer.use_ema = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Keeps Keras from overwriting the weights with the averages at the end of `fit`."""
        self._optimizer.use_ema = False

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Puts the averages into the model."""
        self._swap()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Puts the weights back."""
        self._swap()

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Puts the averages into the model while its block runs."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @property
    def _optimizer(self) -> Any:
        # With mixed_float16 Keras wraps the optimizer in one that scales the loss.
        return getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)

    def _swap(self) -> None:
        for variable, average in averaged_weights(self._optimizer):
            weight = ops.convert_to_numpy(variable).copy()  # on a CPU it may be a view
            variable.assign(average)
            average.assign(weight)
