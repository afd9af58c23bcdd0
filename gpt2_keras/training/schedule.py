"""Learning rate schedules, and the number of steps of a training."""

from typing import Any

import keras
from keras import ops

from gpt2_keras.validation import check_choice, check_integer, check_number, check_probability

SCHEDULES = ("cosine", "linear", "constant")
# karpathy/nanoGPT train.py, min_lr, after Hoffmann et al. (2022), "Chinchilla".
FINAL_LEARNING_RATE_RATIO = 0.1
WARMUP_STEPS = 2000  # karpathy/nanoGPT train.py, warmup_iters
# Of short runs: the 100 of 2000 steps of nanoGPT's config/train_shakespeare_char.py.
WARMUP_FRACTION = 0.05
KERAS_BATCH_SIZE = 32  # keras.Model.fit, batch_size


@keras.saving.register_keras_serializable(package="gpt2_keras")
class LinearSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up followed by a linear decay.

    Args:
        learning_rate: The largest rate, reached at the end of the warm-up.
        total_steps: The step, counted from 0, at which the decay ends.
        warmup_steps: Number of steps of the warm-up, less than `total_steps`.
        final_learning_rate_ratio: The rate at the end as a fraction of `learning_rate`; 1 for
            a constant rate.

    Example:
        >>> schedule = LinearSchedule(1.0, 5, warmup_steps=1, final_learning_rate_ratio=0.0)
        >>> [float(schedule(step)) for step in range(7)]
        [0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        warmup_steps: int,
        final_learning_rate_ratio: float,
    ) -> None:
        super().__init__()
        self.learning_rate, self.total_steps = learning_rate, total_steps
        self.warmup_steps, self.final_learning_rate_ratio = warmup_steps, final_learning_rate_ratio

    def __call__(self, step: Any) -> Any:
        """Returns the rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        rising = (step + 1) / (self.warmup_steps + 1)
        progress = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        falling = 1 - (1 - self.final_learning_rate_ratio) * ops.clip(progress, 0, 1)
        return self.learning_rate * ops.minimum(rising, falling)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the schedule."""
        names = ("learning_rate", "total_steps", "warmup_steps", "final_learning_rate_ratio")
        return {name: getattr(self, name) for name in names}


def make_schedule(
    learning_rate: float,
    total_steps: int,
    warmup_steps: int | None = None,
    *,
    decay: str = "cosine",
    final_learning_rate_ratio: float = FINAL_LEARNING_RATE_RATIO,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a linear warm-up followed by a cosine decay, a linear one or a constant rate.

    In step `s`, counted from 0, the rate is `learning_rate (s + 1) / (warmup + 1)`
    while `s < warmup`, and then falls from `learning_rate`, along half a cosine by
    default, until it is `final_learning_rate_ratio` of that at `total_steps`. Source: `get_lr`
    in karpathy/nanoGPT `train.py`.

    Args:
        learning_rate: The largest rate, reached at the end of the warm-up; at least 0.
        total_steps: Number of steps of the whole training, at least 1.
        warmup_steps: Number of steps of the warm-up, less than `total_steps`; by default a
            twentieth of them, at most 2000.
        decay: `"cosine"`, `"linear"` or `"constant"`.
        final_learning_rate_ratio: The rate at the end as a fraction of the largest, in [0, 1];
            without effect if `decay` is `"constant"`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a number is out of its range, or `decay` is another word.

    Example:
        >>> schedule = make_schedule(1e-3, total_steps=100, warmup_steps=9)
        >>> [round(float(schedule(step)), 6) for step in (0, 9, 100)]
        [0.0001, 0.001, 0.0001]
    """
    learning_rate = check_number("learning_rate", learning_rate, minimum=0)
    advice = "Use the number of batches to train on."
    total_steps = check_integer("total_steps", total_steps, minimum=1, advice=advice)
    usual = default_warmup_steps(total_steps)
    warmup_steps = usual if warmup_steps is None else warmup_steps
    warmup_steps = check_integer("warmup_steps", warmup_steps, minimum=0)
    if warmup_steps >= total_steps:
        raise ValueError(
            f"warmup_steps={warmup_steps} is not less than total_steps={total_steps}. "
            f"Use, for example, warmup_steps={usual}."
        )
    check_choice("decay", decay, SCHEDULES)
    check_probability("final_learning_rate_ratio", final_learning_rate_ratio)
    if decay != "cosine":
        ratio = 1.0 if decay == "constant" else final_learning_rate_ratio
        return LinearSchedule(learning_rate, total_steps, warmup_steps, ratio)
    return keras.optimizers.schedules.CosineDecay(
        # Without a warm-up the cosine starts at the initial rate, which is then the largest.
        learning_rate / (warmup_steps + 1),
        decay_steps=total_steps - warmup_steps,
        alpha=final_learning_rate_ratio,
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


def default_warmup_steps(total_steps: int) -> int:
    """Returns the number of warm-up steps of a training of `total_steps`."""
    return min(WARMUP_STEPS, int(WARMUP_FRACTION * total_steps))


def count_steps(
    x: Any,
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_split: float = 0.0,
    **_: Any,
) -> int | None:
    """Returns the number of steps that `keras.Model.fit` takes.

    Args:
        x: The first argument of `fit`: a dataset, an array, or an object with
            `num_batches`.
        batch_size, epochs, initial_epoch, steps_per_epoch, validation_split: As
            for `fit`. Its other arguments are accepted and have no effect.

    Returns:
        The number of steps, or None if it is unknown.

    Example:
        >>> count_steps(np.zeros((10, 4)), batch_size=4, epochs=2)
        6
    """
    per_epoch = steps_per_epoch
    if per_epoch is None and hasattr(x, "cardinality"):  # a tf.data.Dataset
        per_epoch = int(x.cardinality())
    elif per_epoch is None and hasattr(x, "num_batches"):  # a keras.utils.PyDataset
        per_epoch = x.num_batches
    elif per_epoch is None and hasattr(x, "shape"):
        rows = int(x.shape[0] * (1 - validation_split))
        per_epoch = -(-rows // (batch_size or KERAS_BATCH_SIZE))
    if per_epoch is None or per_epoch < 0:  # tf.data's infinite and unknown are negative
        return None
    return per_epoch * max(0, epochs - initial_epoch)
