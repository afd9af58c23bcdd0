"""What `fit`, `evaluate` and `predict` accept as a batch, checked before a step sees it.

Each source of batches is replaced by one that checks them: `batch_form` has the form, and ids
outside the vocabulary are refused: an accelerator would clip or wrap them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from gpt2_keras.training.batch_form import (
    FORMS,
    BatchRules,
    id_arrays,
    id_rule,
    is_wrong,
    length_rule,
    split_teacher,
    standard_form,
)


def check_inputs(rules: BatchRules, arguments: dict[str, Any]) -> None:
    """Puts what checks its batches in the place of each source of batches.

    Args:
        rules: What the model asks of its batches.
        arguments: Those of `fit` or `evaluate`: `x`, `y`, `sample_weight` and
            `validation_data` may change.

    Raises:
        ValueError: As `checked_arrays` and `checked_source` do.
    """
    if arguments.get("class_weight") is not None:
        raise ValueError(
            f"class_weight={arguments['class_weight']!r:.80} weighs rows of one class each, but "
            "each token has a target. Give sample_weight, a weight for each target, "
            "(batch, time)."
        )
    x = arguments.get("x")
    if _is_array(x):
        names = ("x", "y", "sample_weight")
        arrays = checked_arrays(rules, *(arguments.get(name) for name in names))
        arguments |= dict(zip(names, arrays, strict=True))
    elif x is not None:
        arguments["x"] = checked_source(rules, x)
    validation = arguments.get("validation_data")
    if isinstance(validation, (tuple, list)):
        arguments["validation_data"] = _checked_batch(rules, validation)
    elif validation is not None:
        arguments["validation_data"] = checked_source(rules, validation)


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") or isinstance(x, (list, tuple, dict))


def checked_arrays(rules: BatchRules, x: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """Returns token ids, targets and weights of arrays, each checked.

    Args:
        rules: What the model asks of its batches.
        x, y, sample_weight: As given to `fit`; `y` is None where the next tokens of `x` are
            the targets.

    Raises:
        ValueError: If an id is outside the vocabulary, or the arrays are of another form.

    Example:
        >>> rules = BatchRules(vocab_size=10, context_length=8)
        >>> x, y, _ = checked_arrays(rules, np.array([[1, 2, 3]]), None, None)
        >>> x.tolist(), y.tolist()
        ([[1, 2]], [[2, 3]])
    """
    x, teacher = split_teacher(x)
    has_targets = y is not None
    x, y, sample_weight = standard_form(rules, x, y, sample_weight, is_graph=False)
    for name, values in id_arrays(x, y):
        ids = np.asarray(keras.ops.convert_to_numpy(values))
        wrong = ids[is_wrong(rules, name, ids)]
        if wrong.size:
            raise ValueError(
                f"{name} has the id {wrong[0]}, which is not in the vocabulary. "
                f"{id_rule(rules, name)}"
            )
    return _with_teacher(rules, x, teacher, has_targets), y, sample_weight


def checked_source(rules: BatchRules, x: Any) -> Any:
    """Returns a source of batches that checks each as it is read.

    Args:
        rules: As for `checked_arrays`.
        x: A `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator; another source is
            returned as it is.

    Raises:
        ValueError: If the elements of a dataset are of another form. A wrong id raises when its
            batch is read: a ValueError, from a `tf.data.Dataset` TensorFlow's
            InvalidArgumentError.
    """
    return _with_check(
        x,
        lambda batch: _checked_batch(rules, batch),
        lambda *element: _checked_tensors(rules, element),
    )


def check_predict_inputs(rules: BatchRules, x: Any) -> Any:
    """Returns the token ids for `predict`, or a source of them, that are checked.

    Args:
        rules: What the model asks of its batches.
        x: An array, or a source of batches; what stands beside the token ids is not read.

    Raises:
        ValueError: As `checked_arrays` and `checked_source` do.
    """

    def checked(batch: Any) -> Any:
        ids, _ = split_teacher(keras.utils.unpack_x_y_sample_weight(batch)[0])
        return (checked_arrays(rules, ids, ids, None)[0],)

    def checked_tensors(*element: Any) -> Any:
        ids, _ = split_teacher(element[0])
        return _checked_tensors(rules, (ids, ids))[0]

    return checked(x)[0] if _is_array(x) else _with_check(x, checked, checked_tensors)


def _with_check(x: Any, of_arrays: Callable[[Any], Any], of_tensors: Callable[..., Any]) -> Any:
    """Returns a source of batches with a check of each: of a batch, or of a dataset's parts."""
    if hasattr(x, "element_spec") and hasattr(x, "map"):
        import tensorflow as tf

        # Autograph would put its own words before those of an error.
        return x.map(tf.autograph.experimental.do_not_convert(of_tensors))
    if isinstance(x, keras.utils.PyDataset):
        return _CheckedDataset(of_arrays, x)
    if isinstance(x, Iterator):
        return (of_arrays(batch) for batch in x)
    return x


class _CheckedDataset(keras.utils.PyDataset):
    """A PyDataset whose batches are checked."""

    def __init__(self, check: Callable[[Any], Any], dataset: keras.utils.PyDataset) -> None:
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self._check, self._dataset = check, dataset

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None if there is no end."""
        return self._dataset.num_batches

    def __getitem__(self, index: int) -> Any:
        return self._check(self._dataset[index])

    def on_epoch_begin(self) -> None:
        """Tells the dataset."""
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tells the dataset."""
        self._dataset.on_epoch_end()


def _checked_batch(rules: BatchRules, batch: Any) -> tuple[Any, ...]:
    """Returns a batch of arrays in the form of a step."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    return _packed(*checked_arrays(rules, x, y, sample_weight))


def _checked_tensors(rules: BatchRules, element: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns an element of a `tf.data.Dataset` in the form of a step; traced once."""
    import tensorflow as tf

    if len(element) > 3:
        raise ValueError(f"Received a dataset with elements of {len(element)} parts. {FORMS}")
    x, teacher = split_teacher(element[0])
    parts = (x, *element[1:], None, None)[:3]
    x, y, sample_weight = standard_form(rules, *parts, is_graph=True)
    checks = []
    for name, values in id_arrays(x, y):
        wrong = tf.boolean_mask(values, is_wrong(rules, name, values))
        said = f"{name} has an id that is not in the vocabulary. {id_rule(rules, name)} The id:"
        checks.append(tf.debugging.Assert(tf.equal(tf.size(wrong), 0), [said, wrong[:1]]))
    if x.shape[1] is None:
        said = f"token_ids has a longer row. {length_rule(rules)} The shape:"
        fits = tf.shape(x)[1] <= rules.context_length
        checks.append(tf.debugging.Assert(fits, [said, tf.shape(x)]))
    with tf.control_dependencies(checks):
        x = _with_teacher(rules, tf.identity(x), teacher, parts[1] is not None)
    return _packed(x, y, sample_weight)


def _with_teacher(rules: BatchRules, x: Any, teacher: dict[str, Any], has_targets: bool) -> Any:
    """Returns token ids, or a dictionary of them and a teacher's logits for each."""
    if not teacher or not rules.reads_teacher_logits:
        return x
    if not has_targets:  # the last token is a target alone
        teacher = {name: part[:, :-1] for name, part in teacher.items()}
    shape = tuple(teacher["teacher_logits"].shape)
    if any(None not in pair and pair[0] != pair[1] for pair in zip(shape, x.shape, strict=False)):
        raise ValueError(
            f"Received token_ids of the shape {tuple(x.shape)} and teacher_logits of {shape}. "
            "Give those of each token, (batch, time, top_k + 1)."
        )
    return {"token_ids": x, **teacher}


def _packed(x: Any, y: Any, sample_weight: Any) -> tuple[Any, ...]:
    return (x, y) if sample_weight is None else (x, y, sample_weight)
