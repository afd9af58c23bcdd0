"""The optimizer of `compile()` without arguments: its schedule follows the length of each `fit`."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from gpt2_keras.training.optimizer import (
    BETA_1,
    BETA_2,
    CLIP_NORM,
    EPSILON,
    LEARNING_RATE,
    NO_DECAY,
    WEIGHT_DECAY,
    AdamW,
)
from gpt2_keras.training.schedule import FINAL_LEARNING_RATE_RATIO, default_warmup_steps

_SET_BY_HAND = -1  # in place of the number of steps


@keras.saving.register_keras_serializable(package="gpt2_keras")
class FitAdamW(AdamW):
    """GPT-2's AdamW, with a warm-up and a cosine decay over the steps of each `fit`.

    Setting `learning_rate` ends the schedule for good, also that of later calls of `fit`: from
    then on the rate is what was set. So `keras.callbacks.ReduceLROnPlateau`,
    `LearningRateScheduler` and a user's own callbacks work. The schedule is part of the
    optimizer's state: a training that `keras.callbacks.BackupAndRestore` resumes follows the
    one that it began with.

    Args:
        learning_rate: The largest rate.
        no_decay, **kwargs: As for `AdamW`. By default GPT-2's usual settings.

    Example:
        >>> optimizer = FitAdamW(1.0)
        >>> optimizer.start_schedule(total_steps=10)
        >>> float(optimizer.learning_rate)
        1.0
        >>> optimizer.learning_rate = 0.5
        >>> float(optimizer.learning_rate)
        0.5
    """

    def __init__(
        self, learning_rate: Any = LEARNING_RATE, no_decay: Sequence[str] = NO_DECAY, **kwargs: Any
    ) -> None:
        usual = {"weight_decay": WEIGHT_DECAY, "beta_1": BETA_1, "beta_2": BETA_2}
        usual |= {"epsilon": EPSILON, "global_clipnorm": CLIP_NORM}
        super().__init__(learning_rate, no_decay, **(usual | kwargs))
        # The step at which the schedule starts, its number of warm-up steps and of all steps:
        # 0 for a constant rate. A variable, as steps are traced once for all calls of `fit`.
        self.schedule = self.add_state("schedule", [0, 0, 0])

    def start_schedule(self, total_steps: int | None) -> None:
        """Starts the schedule of a `fit`, unless the rate has been set by hand.

        Args:
            total_steps: Number of its steps; None, for unknown, for a constant rate.
        """
        if ops.convert_to_numpy(self.schedule)[2] == _SET_BY_HAND:
            return
        total = total_steps or 0
        first = int(ops.convert_to_numpy(self.iterations))
        self.schedule.assign([first, default_warmup_steps(total), total])

    @property
    def learning_rate(self) -> Any:
        """The rate of the next step, float32 scalar; setting it ends the schedule."""
        return self.current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        AdamW.learning_rate.fset(self, learning_rate)
        self.schedule.assign([0, 0, _SET_BY_HAND])

    def current_learning_rate(self) -> Any:
        """Returns the rate of `make_schedule` at the step; what was set by hand as it is."""
        largest = ops.cast(super().current_learning_rate(), "float32")
        first, warmup, total = (ops.cast(self.schedule[index], "float32") for index in range(3))
        step = ops.cast(self.iterations, "float32") - first
        progress = (step - warmup) / ops.maximum(total - warmup, 1.0)
        cosine = 0.5 * (1 + ops.cos(math.pi * ops.clip(progress, 0, 1)))
        falling = FINAL_LEARNING_RATE_RATIO + (1 - FINAL_LEARNING_RATE_RATIO) * cosine
        factor = ops.where(step < warmup, (step + 1) / (warmup + 1), falling)
        return ops.where(total > 0, largest * factor, largest)
