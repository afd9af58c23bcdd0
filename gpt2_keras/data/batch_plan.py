"""Which rows each batch has: decided by its number alone."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from gpt2_keras.validation import check_integer

_ENDLESS = 2**62 // 2**31  # steps; times any batch size it is an int64


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """Which rows each batch has.

    Args:
        read: Reads rows: int64 `(n,)`, how many rows come before each since the
            start of the first epoch → int32 `(n, width)`.
        split: Makes of rows the pair `(inputs, targets)`, of arrays as of tensors.
        width: Number of integers in a row.
        num_rows: Number of rows in an epoch.
        batch_size: Number of rows in a batch, at least 1.
        repeat: Whether to go on for ever, epochs ending inside batches.
        start_step: Number of batches to leave out at the start.
        drop_remainder: Without `repeat`, whether to leave out a smaller last batch.
        shard: Which part of each batch to read, from 0, and of how many equal ones.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a number is out of range, `start_step` behind the last batch, or a
            batch not to be cut into equal parts.
    """

    read: Callable[[np.ndarray], np.ndarray]
    split: Callable[[Any], tuple[Any, Any]]
    width: int
    num_rows: int
    batch_size: int
    repeat: bool
    start_step: int
    drop_remainder: bool
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        check_integer("batch_size", self.batch_size, minimum=1)
        check_integer("start_step", self.start_step, minimum=0)
        part, num_parts = self.shard
        check_integer("shard[1]", num_parts, minimum=1)
        check_integer("shard[0]", part, minimum=0, maximum=num_parts - 1)
        if self.batch_size % num_parts or self.last_rows % num_parts:
            raise ValueError(
                "Every batch must consist of equal parts. "
                f"Received: shard={self.shard} with batch_size={self.batch_size}, "
                f"last batch of {self.last_rows}. "
                "Use a batch size that can be divided so, and drop_remainder=True."
            )
        if self.start_step > self.num_steps:
            raise ValueError(
                "`start_step` must not be behind the last batch. "
                f"Received: start_step={self.start_step}, with {self.num_steps} batches. "
                "Use a smaller one, or repeat=True."
            )

    @property
    def last_rows(self) -> int:
        """Number of rows of a smaller last batch, 0 if there is none."""
        return 0 if self.repeat or self.drop_remainder else self.num_rows % self.batch_size

    @property
    def num_full(self) -> int:
        """Number of full batches."""
        return _ENDLESS if self.repeat else self.num_rows // self.batch_size

    @property
    def num_steps(self) -> int:
        """Number of batches."""
        return self.num_full + bool(self.last_rows)

    def gather(self, steps: np.ndarray, rows: int) -> np.ndarray:
        """Reads batches of this part: int64 `(n,)` → int32 `(n, rows, width)`.

        Args:
            steps: Numbers of the batches.
            rows: Number of rows of a batch that this part has.
        """
        own = np.arange(self.shard[0] * rows, (self.shard[0] + 1) * rows)
        count = steps[:, None] * self.batch_size + own  # (steps, rows)
        return self.read(count.ravel()).reshape(len(steps), rows, self.width)
