"""Rows of integers that are computed from their number → batches, as a `tf.data` dataset."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

# One call into Python gathers the batches of about this many tokens: calls cost
# some 100 µs each, as much as a small batch.
_TOKENS_PER_CALL = 32 * 1024
_ENDLESS = 2**62 // 2**31  # steps; times any batch size it is an int64


def make_batches(
    read: Callable[[np.ndarray], np.ndarray],
    split: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    *,
    width: int,
    num_rows: int,
    batch_size: int,
    repeat: bool,
    start_step: int,
    drop_remainder: bool,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Returns batches of rows as pairs `(inputs, targets)`; the cardinality is known.

    Args:
        read: Reads rows: int64 `(n,)`, how many rows come before each since the
            start of the first epoch → int32 `(n, width)`.
        split: Makes the pair of integer tensors `(…, width)`.
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
    check_integer("batch_size", batch_size, 1)
    check_integer("start_step", start_step, 0)
    part, num_parts = shard
    check_integer("shard[1]", num_parts, 1)
    check_integer("shard[0]", part, 0, num_parts - 1)
    last_rows = 0 if repeat or drop_remainder else num_rows % batch_size
    if batch_size % num_parts or last_rows % num_parts:
        raise ValueError(
            "Every batch must consist of equal parts. "
            f"Received: shard={shard} with batch_size={batch_size}, last batch of {last_rows}. "
            "Use a batch size that can be divided so, and drop_remainder=True."
        )
    num_full = _ENDLESS if repeat else num_rows // batch_size
    num_steps = num_full + bool(last_rows)
    if start_step > num_steps:
        raise ValueError(
            "`start_step` must not be behind the last batch. "
            f"Received: start_step={start_step}, with {num_steps} batches. "
            "Use a smaller one, or repeat=True."
        )

    def batches(first_step: int, last_step: int, rows: int) -> tf.data.Dataset:
        """Returns the part that is wanted of batches of `rows` rows."""
        rows //= num_parts

        def gather(steps: np.ndarray) -> np.ndarray:
            own = np.arange(part * rows, (part + 1) * rows)
            count = steps[:, None] * batch_size + own  # (steps, rows)
            return read(count.ravel()).reshape(len(steps), rows, width)

        def load(steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            gathered = tf.numpy_function(gather, [steps], tf.int32, stateful=False)
            return split(tf.ensure_shape(gathered, [None, rows, width]))

        steps_per_call = max(1, _TOKENS_PER_CALL // (rows * width))
        steps = tf.data.Dataset.range(first_step, last_step).batch(steps_per_call)
        return steps.map(load, num_parallel_calls=tf.data.AUTOTUNE).unbatch()

    dataset = batches(start_step, num_full, batch_size)
    if last_rows:
        dataset = dataset.concatenate(batches(max(start_step, num_full), num_steps, last_rows))
    cardinality = tf.data.INFINITE_CARDINALITY if repeat else num_steps - start_step
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    return dataset.prefetch(tf.data.AUTOTUNE)


def check_integer(name: str, value: int, minimum: int, maximum: int | None = None) -> None:
    """Refuses what is not an integer in a range."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(
            f"`{name}` must be an integer. Received: {name}={value!r}. Use, for example, 64."
        )
    if value < minimum or (maximum is not None and value > maximum):
        rule = f"at least {minimum}" + (f" and at most {maximum}" if maximum is not None else "")
        raise ValueError(
            f"`{name}` must be {rule}. Received: {name}={value}. Use, for example, {minimum}."
        )
