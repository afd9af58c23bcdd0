"""How the learning rate runs over the steps of training."""

from typing import Any

import keras
from keras import ops

SCHEDULES = ("cosine", "linear", "constant")
# karpathy/nanoGPT train.py, min_lr, after Hoffmann et al. (2022), "Chinchilla".
FINAL_LEARNING_RATE_RATIO = 0.1
WARMUP_STEPS = 2000  # karpathy/nanoGPT train.py, warmup_iters
# Of short runs: the 100 of 2000 steps of nanoGPT's config/train_shakespeare_char.py.
WARMUP_FRACTION = 0.05
KERAS_BATCH_SIZE = 32  # keras.Model.fit, batch_size


@keras.saving.register_keras_serializable(package="gpt2_keras")
class LinearSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up, and then a straight line down to a share of the rate.

    Args:
        learning_rate: The largest rate, reached at the end of the warm-up.
        total_steps: The step, counted from 0, where the line ends.
        warmup_steps: Number of steps of the warm-up, fewer than all.
        final_learning_rate_ratio: Where the line ends, as a share of `learning_rate`; 1 for a
            constant rate.

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
        way = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        falling = 1 - (1 - self.final_learning_rate_ratio) * ops.clip(way, 0, 1)
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
    kind: str = "cosine",
    final_learning_rate_ratio: float = FINAL_LEARNING_RATE_RATIO,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a linear warm-up followed by a cosine, a line or a constant rate.

    In step `s`, counted from 0, the rate is `learning_rate (s + 1) / (warmup + 1)`
    while `s < warmup`, and then falls from `learning_rate`, along half a cosine by
    default, until it is `final_learning_rate_ratio` of that at `total_steps`. Source: `get_lr`
    in karpathy/nanoGPT `train.py`.

    Args:
        learning_rate: The largest rate, reached at the end of the warm-up.
        total_steps: Number of steps of the whole training, at least 1.
        warmup_steps: Number of steps of the warm-up; by default 2000, at most a
            twentieth of the whole.
        kind: `"cosine"`, `"linear"` or `"constant"`.
        final_learning_rate_ratio: The rate at the end, as a share of the largest; nothing to
            `"constant"`.

    Raises:
        ValueError: If the steps are not positive, the warm-up is not shorter
            than the whole, or `kind` is another word.

    Example:
        >>> schedule = make_schedule(1e-3, total_steps=100, warmup_steps=9)
        >>> [round(float(schedule(step)), 6) for step in (0, 9, 100)]
        [0.0001, 0.001, 0.0001]
    """
    if total_steps < 1:
        raise ValueError(
            "`total_steps` must be at least 1. "
            f"Received: total_steps={total_steps}. Use the number of batches to train on."
        )
    if warmup_steps is None:
        warmup_steps = default_warmup_steps(total_steps)
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(
            "`warmup_steps` must be at least 0 and below the number of steps. "
            f"Received: warmup_steps={warmup_steps}, total_steps={total_steps}. "
            f"Use, for example, warmup_steps={default_warmup_steps(total_steps)}."
        )
    if kind not in SCHEDULES:
        raise ValueError(
            f"`kind` must be one of {', '.join(SCHEDULES)}. "
            f"Received: kind={kind!r}. Use cosine if in doubt."
        )
    if kind != "cosine":
        share = 1.0 if kind == "constant" else final_learning_rate_ratio
        return LinearSchedule(learning_rate, total_steps, warmup_steps, share)
    warmup = {}
    if warmup_steps:
        warmup = {"warmup_target": learning_rate, "warmup_steps": warmup_steps}
    return keras.optimizers.schedules.CosineDecay(
        # Without a warm-up the cosine begins at the initial rate, so at its top.
        learning_rate / (warmup_steps + 1),
        decay_steps=total_steps - warmup_steps,
        alpha=final_learning_rate_ratio,
        **warmup,
    )


def default_warmup_steps(total_steps: int) -> int:
    """Returns the number of warm-up steps of a training of `total_steps`."""
    return min(WARMUP_STEPS, int(WARMUP_FRACTION * total_steps))


def set_schedule(optimizer: keras.optimizers.Optimizer, total_steps: int | None) -> None:
    """Gives an optimizer of constant rate the schedule of `make_schedule`.

    Args:
        optimizer: Made with a number as its rate, which becomes the largest one.
        total_steps: Number of steps of the training; None if unknown, which
            leaves the rate constant.
    """
    if total_steps:
        learning_rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        optimizer.learning_rate = make_schedule(learning_rate, total_steps)


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
    """Returns how many steps `keras.Model.fit` will take.

    Args:
        x: What `fit` is given: a dataset, arrays, or an object with
            `num_batches`.
        batch_size, epochs, initial_epoch, steps_per_epoch, validation_split: As
            for `fit`; its other arguments change nothing.

    Returns:
        The number of steps, or None if it cannot be known.

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
    return per_epoch * (epochs - initial_epoch)
