"""Batches of pairs `(inputs, targets)`: which rows each batch has, decided by its number alone."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from gpt2_keras.data.shuffling import LARGEST_SEED
from gpt2_keras.validation import check_flag, check_instance, check_integer

# A target that the loss skips: padding, or text that is not to be learned.
# The value is that of PyTorch's CrossEntropyLoss(ignore_index), which datasets are made for.
IGNORED_TARGET = -100
_ENDLESS = 2**62 // 2**31  # steps; times any batch size it is an int64


def check_batch_numbers(context_length: int, batch_size: int, seed: int, start_step: int) -> None:
    """Checks the numbers that `make_dataset` and `make_instruction_dataset` share.

    Raises:
        TypeError: If one is of a wrong type.
        ValueError: If a number is out of its range.
    """
    check_integer("context_length", context_length, minimum=1)
    check_integer("batch_size", batch_size, minimum=1)
    check_integer("seed", seed, minimum=0, maximum=LARGEST_SEED)
    check_integer("start_step", start_step, minimum=0)


def check_flags(**flags: bool) -> None:
    """Raises a TypeError if one of the flags is not a bool."""
    for name, flag in flags.items():
        check_flag(name, flag)


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """The rows of each batch.

    Args:
        read: Reads rows: int64 `(n,)`, the number of rows before each since the start of the
            first epoch → int32 `(n, width)`.
        split: Splits rows into the pair `(inputs, targets)`; takes arrays and tensors.
        width: Number of integers in a row.
        num_rows: Number of rows in an epoch.
        batch_size: Number of rows in a batch, at least 1.
        repeat: Whether to go on without end, epochs ending inside batches.
        start_step: Number of batches to skip at the start.
        drop_remainder: Without `repeat`, whether to leave out a smaller last batch.
        shard: Index of the part of each batch to read, and number of equal parts.

    Raises:
        TypeError: If `shard` is not a pair of integers.
        ValueError: If `shard` is out of range, `start_step` is after the last batch, or a batch
            cannot be split into equal parts.
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
        self._check_shard()
        if self.start_step > self.num_steps:
            raise ValueError(
                f"start_step={self.start_step} is after the last of {self.num_steps} batches. "
                "Use a smaller one, or repeat=True."
            )

    def _check_shard(self) -> None:
        rule = "a pair (index, number of parts)"
        check_instance("shard", self.shard, (tuple, list), rule)
        if len(self.shard) != 2:
            raise ValueError(f"shard={self.shard} has {len(self.shard)} entries. Use {rule}.")
        index, num_parts = self.shard
        check_integer("shard[1]", num_parts, minimum=1)
        check_integer("shard[0]", index, minimum=0, maximum=num_parts - 1)
        for rows in (self.batch_size, self.last_rows):
            if rows % num_parts:
                raise ValueError(
                    f"shard={self.shard} does not divide a batch of {rows} rows into {num_parts} "
                    f"equal parts. Use a batch_size that is a multiple of {num_parts}, and "
                    "repeat=True or drop_remainder=True."
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
        """Reads this part of batches: int64 `(n,)` → int32 `(n, rows, width)`.

        Args:
            steps: Numbers of the batches.
            rows: Number of rows of a batch that this part has.
        """
        own = np.arange(self.shard[0] * rows, (self.shard[0] + 1) * rows)
        count = steps[:, None] * self.batch_size + own  # (steps, rows)
        return self.read(count.ravel()).reshape(len(steps), rows, self.width)
