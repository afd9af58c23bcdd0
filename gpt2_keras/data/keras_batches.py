"""Batches as a Keras dataset, for machines without TensorFlow."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from gpt2_keras.data.batch_plan import BatchPlan

_Batch = tuple[Any, np.ndarray]


class KerasBatches(keras.utils.PyDataset):
    """The batches of a plan, with the methods of `tf.data` datasets that training needs.

    Args:
        plan: The rows of each batch.
        num_steps: Largest number of batches; by default all.

    Example:
        >>> plan = BatchPlan(
        ...     lambda count: count[:, None] + np.arange(3),
        ...     lambda rows: (rows[..., :-1], rows[..., 1:]),
        ...     width=3, num_rows=4, batch_size=2, repeat=False, start_step=0, drop_remainder=False,
        ... )
        >>> [inputs.tolist() for inputs, _ in KerasBatches(plan).as_numpy_iterator()]
        [[[0, 1], [1, 2]], [[2, 3], [3, 4]]]
    """

    def __init__(self, plan: BatchPlan, num_steps: int | None = None) -> None:
        super().__init__()
        self._plan = plan
        left = None if plan.repeat else plan.num_steps - plan.start_step
        counts = [count for count in (left, num_steps) if count is not None]
        self._num_steps = min(counts) if counts else None

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None if there is no end."""
        return self._num_steps

    def __getitem__(self, index: int) -> _Batch:
        plan, step = self._plan, self._plan.start_step + index
        rows = plan.last_rows if step == plan.num_full else plan.batch_size
        inputs, targets = plan.split(plan.gather(np.array([step]), rows // plan.shard[1])[0])
        return keras.tree.map_structure(np.ascontiguousarray, (inputs, targets))

    def take(self, count: int) -> "KerasBatches":
        """Returns the first batches, at most `count` of them."""
        known = self._num_steps
        return KerasBatches(self._plan, count if known is None else min(count, known))

    def as_numpy_iterator(self) -> Iterator[_Batch]:
        """Yields the batches."""
        steps = itertools.count() if self._num_steps is None else range(self._num_steps)
        return map(self.__getitem__, steps)
