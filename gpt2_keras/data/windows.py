"""Tokens as batches of windows: inputs, and the tokens that follow as targets."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from gpt2_keras.data.batch_plan import BatchPlan, check_batch_numbers, check_flags
from gpt2_keras.data.batches import make_batches
from gpt2_keras.data.shuffling import epoch_keys, mix, permute
from gpt2_keras.data.teacher_logits import TeacherLogits
from gpt2_keras.data.token_source import TokenSource, check_tokens
from gpt2_keras.data.window_rows import RowsWithTeacher, WindowRows

if TYPE_CHECKING:
    import tensorflow as tf

    from gpt2_keras.data.keras_batches import KerasBatches


def make_dataset(
    tokens: TokenSource,
    *,
    context_length: int,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    repeat: bool = True,
    start_step: int = 0,
    drop_remainder: bool = False,
    shard: tuple[int, int] = (0, 1),
    teacher_logits: TeacherLogits | None = None,
) -> "tf.data.Dataset | KerasBatches":
    """Returns batches of windows of tokens, with the tokens that follow as targets.

    The windows of an epoch are adjacent and do not overlap. With `shuffle` the
    first one begins at a random position, a new one in each epoch, and they come
    in random order. A batch depends only on the tokens, the sizes, the seed and
    its number: a dataset that starts at step k equals one from the start without
    its first k batches. With `repeat` an epoch ends inside a batch
    and every batch is full.

    The tokens are read as they are needed: a corpus on disk is not loaded.

    Args:
        tokens: `TokenShards`, a part of them, or a 1-D array of integers.
        context_length: Number of inputs in a window, at least 1.
        batch_size: Number of windows in a batch, at least 1.
        seed: Seed of the random order, 0 to 2³¹ - 1.
        shuffle: Whether the windows come in random order. Without, they come in
            the order of the text, the first one at its first token: for
            evaluation.
        repeat: Whether to go on without end, epoch after epoch.
        start_step: Number of batches to skip at the start.
        drop_remainder: Without `repeat`, whether to leave out the last batch if
            it is smaller than the others. The tokens after the last whole window
            of an epoch are left out in any case: fewer than `context_length`
            tokens, or twice as many if shuffled.
        shard: Index of the part of every batch to read, and number of equal parts:
            for workers that train on one batch together.
        teacher_logits: What a teacher makes of these tokens, for a student that is compiled
            with `distill_from="stored"`: the inputs are then a dictionary of `token_ids`,
            `teacher_ids`, int32 `(batch, context_length, top_k)`, and `teacher_logits`, float16
            `(batch, context_length, top_k + 1)`, the last that of all other tokens together.

    Returns:
        Pairs `(inputs, targets)`, each int32 `(batch, context_length)`, where
        `targets[:, i]` follows `inputs[:, i]` in the text: a `tf.data` dataset whose
        cardinality is known. Where TensorFlow is not installed, a Keras `PyDataset`
        with the same batches in the same order (without `repeat`, train on it with
        `fit(shuffle=False)`: Keras would mix its batches), which also has
        `take` and `as_numpy_iterator`.

    Raises:
        TypeError: If `tokens` is an array that is not 1-D or not of integers, or
            another argument is of a wrong type.
        ValueError: If the tokens are too few for one window, a number is out of
            its range, `start_step` is after the last batch, a batch cannot be
            split into equal parts, or there are logits of fewer tokens.

    Example:
        >>> data = make_dataset(
        ...     np.arange(10), context_length=4, batch_size=2, shuffle=False, repeat=False
        ... )
        >>> for inputs, targets in data.as_numpy_iterator():
        ...     print(inputs.tolist(), targets.tolist())
        [[0, 1, 2, 3], [4, 5, 6, 7]] [[1, 2, 3, 4], [5, 6, 7, 8]]
    """
    check_tokens(tokens)
    check_batch_numbers(context_length, batch_size, seed, start_step)
    check_flags(shuffle=shuffle, repeat=repeat, drop_remainder=drop_remainder)
    num_windows, num_offsets = _count_windows(len(tokens), context_length, shuffle)
    windows = _Windows(tokens, context_length, seed if shuffle else None, num_windows, num_offsets)
    rows: WindowRows | RowsWithTeacher = WindowRows(windows)
    if teacher_logits is not None:
        rows = RowsWithTeacher(windows, teacher_logits)
    plan = BatchPlan(
        rows.read,
        rows.split,
        width=rows.width,
        num_rows=num_windows,
        batch_size=batch_size,
        repeat=repeat,
        start_step=start_step,
        drop_remainder=drop_remainder,
        shard=shard,
    )
    return make_batches(plan)


@dataclasses.dataclass(frozen=True)
class _Windows:
    """The windows of all epochs: where they start."""

    tokens: TokenSource
    context_length: int
    seed: int | None  # None for the order of the text
    num_windows: int  # in an epoch
    num_offsets: int  # positions at which the first window may begin

    def starts(self, count: np.ndarray) -> np.ndarray:
        """Returns the positions of first tokens: int64 `(n,)` → int64 `(n,)`.

        Args:
            count: Number of windows before each, since the start of the first epoch.
        """
        epochs, numbers = np.divmod(count, self.num_windows)
        if self.seed is None:
            return numbers * self.context_length
        keys = epoch_keys(self.seed, epochs)
        offsets = (mix(keys) % np.uint64(self.num_offsets)).view(np.int64)
        return permute(numbers, keys, self.num_windows) * self.context_length + offsets


def _count_windows(num_tokens: int, context_length: int, shuffle: bool) -> tuple[int, int]:
    """Returns the number of windows of an epoch, and that of positions of the first one."""
    if num_tokens <= context_length:
        raise ValueError(
            f"{num_tokens} tokens are too few for a window of context_length={context_length} and "
            "the token that follows. Use a longer text or a smaller context_length."
        )
    if not shuffle:
        return (num_tokens - 1) // context_length, 1
    # One fewer than fit, so that the first position may vary by a whole window: else a text of
    # n * context_length + 1 tokens would have the same windows in every epoch.
    num_windows = max(1, num_tokens // context_length - 1)
    return num_windows, num_tokens - num_windows * context_length
