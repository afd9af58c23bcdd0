"""What `fit` and `evaluate` accept as a batch, checked before a step sees it.

A step reads `(token_ids, targets)` or `(token_ids, targets, sample_weight)`. Also accepted:
token ids alone, whose targets are the next tokens, and KerasHub's dictionary of `token_ids` and
`padding_mask`. Ids outside the vocabulary are refused: an accelerator would clip or wrap them.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from gpt2_keras.data.batch_plan import IGNORED_TARGET

_FORMS = (
    "Give (token_ids, targets), both int (batch, time), with sample_weight or without; token_ids "
    'alone; or {"token_ids": …, "padding_mask": …} and targets.'
)


def check_inputs(vocab_size: int, arguments: dict[str, Any]) -> None:
    """Puts what checks its batches in the place of each source of batches.

    Args:
        vocab_size: Of the model.
        arguments: Those of `fit` or `evaluate`: `x`, `y`, `sample_weight` and
            `validation_data` may change.

    Raises:
        ValueError: As `checked_arrays` and `checked_source` do.
    """
    x = arguments.get("x")
    if _is_array(x):
        names = ("x", "y", "sample_weight")
        arrays = checked_arrays(vocab_size, *(arguments.get(name) for name in names))
        arguments |= dict(zip(names, arrays, strict=True))
    elif x is not None:
        arguments["x"] = checked_source(vocab_size, x)
    validation = arguments.get("validation_data")
    if isinstance(validation, (tuple, list)):
        arguments["validation_data"] = _checked_batch(vocab_size, validation)
    elif validation is not None:
        arguments["validation_data"] = checked_source(vocab_size, validation)


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") or isinstance(x, (list, tuple, dict))


def checked_arrays(vocab_size: int, x: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """Returns token ids, targets and weights of arrays, each checked.

    Args:
        vocab_size: Token ids are below it, and so are targets, which may be `IGNORED_TARGET`.
        x, y, sample_weight: As given to `fit`; `y` is None where the next tokens of `x` are
            the targets.

    Raises:
        ValueError: If an id is outside the vocabulary, or the arrays are of another form.

    Example:
        >>> x, y, _ = checked_arrays(10, np.array([[1, 2, 3]]), None, None)
        >>> x.tolist(), y.tolist()
        ([[1, 2]], [[2, 3]])
    """
    x, y, sample_weight = _standard_form(x, y, sample_weight, is_graph=False)
    for name, values in _id_arrays(x, y):
        ids = np.asarray(keras.ops.convert_to_numpy(values)).astype("int64")
        wrong = ids[_is_wrong(name, ids, vocab_size)]
        if wrong.size:
            raise ValueError(
                f"{name} has the id {wrong[0]}, which is not in the vocabulary. "
                f"{_rule(name, vocab_size)}"
            )
    return x, y, sample_weight


def checked_source(vocab_size: int, x: Any) -> Any:
    """Returns a source of batches that checks each as it is read.

    Args:
        vocab_size: As for `checked_arrays`.
        x: A `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator; another source is
            returned as it is.

    Raises:
        ValueError: If the elements of a dataset are of another form. A wrong id raises when its
            batch is read: a ValueError, from a `tf.data.Dataset` TensorFlow's
            InvalidArgumentError.
    """
    if hasattr(x, "element_spec") and hasattr(x, "map"):
        import tensorflow as tf

        def check(*element: Any) -> tuple[Any, ...]:
            return _checked_tensors(vocab_size, element)

        # Autograph would put its own words before those of an error.
        return x.map(tf.autograph.experimental.do_not_convert(check))
    if isinstance(x, keras.utils.PyDataset):
        return _CheckedDataset(vocab_size, x)
    if isinstance(x, Iterator):
        return (_checked_batch(vocab_size, batch) for batch in x)
    return x


class _CheckedDataset(keras.utils.PyDataset):
    """A PyDataset whose batches are checked."""

    def __init__(self, vocab_size: int, dataset: keras.utils.PyDataset) -> None:
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self._vocab_size, self._dataset = vocab_size, dataset

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None if there is no end."""
        return self._dataset.num_batches

    def __getitem__(self, index: int) -> Any:
        return _checked_batch(self._vocab_size, self._dataset[index])

    def on_epoch_begin(self) -> None:
        """Tells the dataset."""
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tells the dataset."""
        self._dataset.on_epoch_end()


def _checked_batch(vocab_size: int, batch: Any) -> tuple[Any, ...]:
    """Returns a batch of arrays in the form of a step."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    return _packed(*checked_arrays(vocab_size, x, y, sample_weight))


def _checked_tensors(vocab_size: int, element: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns an element of a `tf.data.Dataset` in the form of a step; traced once."""
    import tensorflow as tf

    x, y, sample_weight = _standard_form(*(*element, None, None)[:3], is_graph=True)
    checks = []
    for name, values in _id_arrays(x, y):
        ids = tf.cast(values, tf.int64)
        wrong = tf.boolean_mask(ids, _is_wrong(name, ids, vocab_size))
        said = f"{name} has an id that is not in the vocabulary. {_rule(name, vocab_size)} The id:"
        checks.append(tf.debugging.Assert(tf.equal(tf.size(wrong), 0), [said, wrong[:1]]))
    with tf.control_dependencies(checks):
        return _packed(tf.identity(x), y, sample_weight)


def _packed(x: Any, y: Any, sample_weight: Any) -> tuple[Any, ...]:
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def _standard_form(x: Any, y: Any, sample_weight: Any, *, is_graph: bool) -> tuple[Any, Any, Any]:
    """Returns a batch as token ids, targets and weights or None.

    Args:
        x, y, sample_weight: Arrays, or with `is_graph` tensors of TensorFlow.
    """
    mask = None
    if isinstance(x, dict):
        if "token_ids" not in x or not x.keys() <= {"token_ids", "padding_mask"}:
            raise ValueError(f"Received a batch that is a dictionary of {sorted(x)}. {_FORMS}")
        x, mask = x["token_ids"], x.get("padding_mask")
    if not is_graph:
        x, y, mask = (
            value if value is None or hasattr(value, "shape") else np.asarray(value)
            for value in (x, y, mask)
        )
    _check_form(x, y)
    if mask is not None and sample_weight is None:
        sample_weight = _both_real(mask, is_graph=is_graph)
    if y is None:
        x, y = x[:, :-1], x[:, 1:]
        if sample_weight is not None and len(sample_weight.shape) == 2:
            sample_weight = sample_weight[:, : y.shape[1]]
    return x, y, sample_weight


def _check_form(x: Any, y: Any) -> None:
    """Raises ValueError if token ids and targets are not of the form that a step reads."""
    dtype = getattr(x.dtype, "name", str(x.dtype))
    if dtype in ("string", "object") or dtype.startswith("str"):
        raise ValueError(
            f"Received batches of texts (dtype {dtype}). A batch holds token ids. Encode the texts "
            "with `gpt2_keras.data.prepare` and `make_dataset`, or with a tokenizer layer."
        )
    shape = x.shape
    if getattr(shape, "rank", 0) is None:  # of a tf.data.Dataset that does not tell
        return
    if len(shape) != 2:
        advice = (
            "Batch the dataset, for example by `dataset.batch(16)`. " if len(shape) == 1 else ""
        )
        raise ValueError(f"Received token_ids of the shape {tuple(shape)}. {advice}{_FORMS}")
    if y is None and shape[1] is not None and shape[1] < 2:
        raise ValueError(
            f"Received token_ids of the shape {tuple(shape)} and no targets. A row of one "
            f"token has no next token to learn. {_FORMS}"
        )
    if y is not None and len(y.shape) == 2:
        pairs = zip(shape, y.shape, strict=True)
        if any(None not in pair and pair[0] != pair[1] for pair in pairs):
            raise ValueError(
                f"Received token_ids of the shape {tuple(shape)} and targets of {tuple(y.shape)}. "
                f"Each token has one target, the next token. {_FORMS}"
            )


def _both_real(mask: Any, *, is_graph: bool) -> Any:
    """Returns 1 where a token and the next one are not padding, else 0; (batch, time)."""
    if is_graph:
        import tensorflow as tf

        mask = tf.cast(mask, tf.bool)
        following = tf.concat([mask[:, 1:], mask[:, -1:]], axis=1)
        return tf.cast(mask & following, tf.float32)
    mask = np.asarray(mask).astype(bool)
    following = np.concatenate([mask[:, 1:], mask[:, -1:]], axis=1)
    return (mask & following).astype("float32")


def _id_arrays(x: Any, y: Any) -> list[tuple[str, Any]]:
    """Returns what holds ids: token ids, and targets unless a loss of the user's has others."""
    return [("token_ids", x), *([("targets", y)] if len(y.shape) == len(x.shape) else [])]


def _is_wrong(name: str, ids: Any, vocab_size: int) -> Any:
    """Returns where ids, int64, are outside the vocabulary and are no targets to ignore."""
    wrong = (ids < 0) | (ids >= vocab_size)
    return wrong & (ids != IGNORED_TARGET) if name == "targets" else wrong


def _rule(name: str, vocab_size: int) -> str:
    """Returns which ids are allowed, and what to do."""
    rule = f"Ids are at least 0 and below vocab_size={vocab_size}"
    if name == "targets":
        return f"{rule}, or {IGNORED_TARGET} for a target to ignore."
    return f"{rule}. Encode the text with the tokenizer of this model."
