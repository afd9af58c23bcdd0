"""What the rows of windows hold, as integers: tokens, and with them a teacher's logits."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from gpt2_keras.data.teacher_logits import TeacherLogits
from gpt2_keras.data.token_source import TokenSource
from gpt2_keras.validation import check_instance


class Windows(Protocol):
    """Windows of tokens."""

    @property
    def tokens(self) -> TokenSource:
        """The tokens."""
        ...

    @property
    def context_length(self) -> int:
        """Number of inputs of a window."""
        ...

    @property
    def starts(self) -> Callable[[np.ndarray], np.ndarray]:
        """Returns the positions of first tokens, by numbers of windows."""
        ...


class WindowRows:
    """Rows of a window and the token after it, int32 `(rows, time + 1)`."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self.width = windows.context_length + 1

    def read(self, count: np.ndarray) -> np.ndarray:
        """Reads rows by number, int64 `(rows,)`."""
        rows = np.empty((len(count), self.width), np.int32)
        for row, start in enumerate(self._windows.starts(count).tolist()):
            rows[row] = self._windows.tokens[start : start + self.width]
        return rows

    def split(self, rows: Any) -> tuple[Any, Any]:
        """Returns inputs and targets, int32 `(…, time)`."""
        return rows[..., :-1], rows[..., 1:]


class RowsWithTeacher:
    """Rows of a window, the token after it, and the logits of a teacher for each of its tokens.

    Integers alone, as one array travels to TensorFlow: the bits of float16 are those of an int.

    Args:
        windows: The windows.
        logits: The teacher's logits of the same tokens.

    Raises:
        TypeError: If `logits` are none.
        ValueError: If they are of fewer tokens.
    """

    def __init__(self, windows: Windows, logits: TeacherLogits) -> None:
        check_instance("teacher_logits", logits, TeacherLogits, "TeacherLogits")
        if len(logits) < len(windows.tokens):
            raise ValueError(
                f"teacher_logits has the logits of {len(logits)} tokens, and there are "
                f"{len(windows.tokens)}. Use those that were stored for these tokens."
            )
        self._logits, self._windows = logits, windows
        self._tokens = WindowRows(windows)
        self._first_logit = self._tokens.width + windows.context_length * logits.top_k
        self.width = self._first_logit + windows.context_length * (logits.top_k + 1)

    def read(self, count: np.ndarray) -> np.ndarray:
        """Reads rows by number, int64 `(rows,)` → int32 `(rows, width)`."""
        rows = np.empty((len(count), self.width), np.int32)
        rows[:, : self._tokens.width] = self._tokens.read(count)
        for row, start in enumerate(self._windows.starts(count).tolist()):
            ids, logits = self._logits[start : start + self._windows.context_length]
            rows[row, self._tokens.width : self._first_logit] = ids.ravel()
            rows[row, self._first_logit :] = logits.ravel().view(np.uint16)
        return rows

    def split(self, rows: Any) -> tuple[Any, Any]:
        """Returns the dictionary of inputs, and targets, int32 `(…, time)`."""
        inputs, targets = self._tokens.split(rows[..., : self._tokens.width])
        ids = rows[..., self._tokens.width : self._first_logit]
        logits = rows[..., self._first_logit :]
        top_k = self._logits.top_k
        parts = {
            "token_ids": inputs,
            "teacher_ids": self._by_token(ids, top_k),
            "teacher_logits": _float16(self._by_token(logits, top_k + 1)),
        }
        return parts, targets

    def _by_token(self, values: Any, count: int) -> Any:
        """(…, time × count) → (…, time, count)."""
        sizes = (self._windows.context_length, count)
        if isinstance(values, np.ndarray):
            return values.reshape(*values.shape[:-1], *sizes)
        import tensorflow as tf

        shape = tf.concat([tf.shape(values)[:-1], sizes], axis=0)
        return tf.ensure_shape(tf.reshape(values, shape), [*values.shape[:-1], *sizes])


def _float16(bits: Any) -> Any:
    """Returns the float16 numbers of bits in int32."""
    if isinstance(bits, np.ndarray):
        return bits.astype(np.uint16).view(np.float16)
    import tensorflow as tf

    return tf.bitcast(tf.cast(bits, tf.uint16), tf.float16)
