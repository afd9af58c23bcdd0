"""The form of a batch that a step reads, and what makes another one into it.

A step reads `(token_ids, targets)` or `(token_ids, targets, sample_weight)`. Also accepted:
token ids alone, whose targets are the next tokens, KerasHub's dictionary of `token_ids` and
`padding_mask`, and one with the stored logits of a teacher. The rules are the same for arrays
and, with `is_graph`, for tensors of TensorFlow.
"""

import dataclasses
from typing import Any

import keras
import numpy as np

from gpt2_keras.data.batch_plan import IGNORED_TARGET

FORMS = (
    "Give (token_ids, targets), both int (batch, time), with sample_weight or without; token_ids "
    'alone; or {"token_ids": …, "padding_mask": …} and targets.'
)
TEACHER_PARTS = ("teacher_ids", "teacher_logits")
_ROWS_ADVICE = (
    "All rows of a batch are equally long. Pad them, and give the dictionary of token_ids and "
    "padding_mask, or -100 as the targets to ignore."
)


@dataclasses.dataclass(frozen=True)
class BatchRules:
    """What a model asks of its batches.

    Args:
        vocab_size: Token ids are below it, and so are targets, which may be `IGNORED_TARGET`.
        context_length: The largest number of tokens in a row.
        targets_are_ids: Whether each token has one id as its target: so with the default loss.
            Targets of another loss may be of any form, for example probabilities.
        reads_teacher_logits: Whether the step learns from a teacher's logits in the batches.
    """

    vocab_size: int
    context_length: int
    targets_are_ids: bool = True
    reads_teacher_logits: bool = False


def standard_form(
    rules: BatchRules, x: Any, y: Any, sample_weight: Any, *, is_graph: bool
) -> tuple[Any, Any, Any]:
    """Returns a batch as token ids, targets and weights or None.

    Args:
        rules: What the model asks of its batches.
        x, y, sample_weight: Arrays, or with `is_graph` tensors of TensorFlow.

    Raises:
        ValueError: If they are of another form.
    """
    x, mask = _without_dictionary(x)
    parts = {"token_ids": x, "targets": y, "padding_mask": mask, "sample_weight": sample_weight}
    x, y, mask, sample_weight = (
        _tensor(name, part) if is_graph else _array(name, part) for name, part in parts.items()
    )
    if is_graph:
        x, y = _with_two_axes(x), _with_two_axes(y) if rules.targets_are_ids else y
    _check_token_ids(rules, x, y)
    if y is not None:
        _check_targets(rules, x, y)
    if sample_weight is not None and rules.targets_are_ids:
        _check_weights(x, sample_weight)
        sample_weight = _for_each_target(sample_weight, x, is_graph=is_graph)
    if mask is not None:
        weights = _both_real(mask, is_graph=is_graph)
        sample_weight = weights if sample_weight is None else weights * sample_weight
    return _shifted(x, sample_weight) if y is None else (x, y, sample_weight)


def split_teacher(x: Any) -> tuple[Any, dict[str, Any]]:
    """Returns a batch's inputs without the logits of a teacher, and these by name.

    Raises:
        ValueError: If ids and logits are not both there, or of another form.
    """
    if not isinstance(x, dict) or not x.keys() & TEACHER_PARTS:
        return x, {}
    teacher = {name: x[name] for name in TEACHER_PARTS if name in x}
    shapes = {name: tuple(getattr(part, "shape", ())) for name, part in teacher.items()}
    ids, logits = (shapes.get(name, ()) for name in TEACHER_PARTS)
    if len(ids) != 3 or logits != (*ids[:-1], ids[-1] + 1):
        raise ValueError(
            f"Received the logits of a teacher of the shapes {shapes}. Give teacher_ids, int "
            "(batch, time, top_k), and teacher_logits, float (batch, time, top_k + 1), as "
            "`make_dataset` does."
        )
    others = {name: part for name, part in x.items() if name not in teacher}
    return others if others.keys() != {"token_ids"} else others["token_ids"], teacher


def _without_dictionary(x: Any) -> tuple[Any, Any]:
    """Returns token ids, and the padding mask of KerasHub's dictionary or None."""
    if not isinstance(x, dict):
        return x, None
    if "token_ids" not in x or not x.keys() <= {"token_ids", "padding_mask"}:
        raise ValueError(f"Received a batch that is a dictionary of {sorted(x)}. {FORMS}")
    return x["token_ids"], x.get("padding_mask")


def _shifted(x: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """Returns token ids alone as all but the last, with the next ones as targets."""
    if sample_weight is not None and _num_axes(sample_weight) == 2:
        sample_weight = sample_weight[:, :-1]
    return x[:, :-1], x[:, 1:], sample_weight


def _tensor(name: str, value: Any) -> Any:
    """Returns a part of a dataset's element that must be one tensor."""
    if value is not None and not hasattr(value, "shape"):
        raise ValueError(f"Received {name} that are a {type(value).__name__}. {FORMS}")
    return value


def _array(name: str, value: Any) -> Any:
    """Returns a list as an array; None and arrays as they are."""
    if value is None or hasattr(value, "shape"):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:  # rows of several lengths
        raise ValueError(
            f"{name} is a {type(value).__name__} that is no array: {error}. {_ROWS_ADVICE}"
        ) from error


def _with_two_axes(tensor: Any) -> Any:
    """Returns a tensor of a dataset that does not tell how many axes it has, with two."""
    if tensor is None or _num_axes(tensor) is not None:
        return tensor
    import tensorflow as tf

    return tf.ensure_shape(tensor, (None, None))


def _check_token_ids(rules: BatchRules, x: Any, y: Any) -> None:
    """Raises ValueError if token ids are not of the form that a step reads."""
    _check_dense("token_ids", x)
    dtype = _dtype_name(x)
    if dtype in ("string", "object") or dtype.startswith("str"):
        raise ValueError(
            f"Received batches of texts (dtype {dtype}). A batch holds token ids. Encode the texts "
            "with `gpt2_keras.data.prepare` and `make_dataset`, or with a tokenizer layer."
        )
    if dtype.startswith(("bool", "complex")):
        raise ValueError(f"Received token_ids of dtype {dtype}. {FORMS}")
    shape = x.shape
    if len(shape) != 2:
        advice = (
            "Batch the dataset, for example by `dataset.batch(16)`. " if len(shape) == 1 else ""
        )
        raise ValueError(f"Received token_ids of the shape {tuple(shape)}. {advice}{FORMS}")
    if y is None and shape[1] is not None and shape[1] < 2:
        raise ValueError(
            f"Received token_ids of the shape {tuple(shape)} and no targets. A row of one "
            f"token has no next token to learn. {FORMS}"
        )
    longest = rules.context_length + (y is None)  # the last token is a target alone
    if shape[1] is not None and shape[1] > longest:
        raise ValueError(f"Received token_ids of the shape {tuple(shape)}. {length_rule(rules)}")


def _dtype_name(value: Any) -> str:
    return getattr(value.dtype, "name", str(value.dtype))


def _num_axes(value: Any) -> int | None:
    """Returns the number of axes; None of a tensor in a graph that does not tell."""
    shape = value.shape
    rank: int | None = shape.rank if hasattr(shape, "rank") else len(shape)
    return rank


def _check_dense(name: str, value: Any) -> None:
    """Raises ValueError for a tensor of rows of several lengths, and a sparse one."""
    if hasattr(value, "row_splits") or hasattr(value, "dense_shape"):
        raise ValueError(f"{name} is a {type(value).__name__}. {_ROWS_ADVICE}")


def _check_targets(rules: BatchRules, x: Any, y: Any) -> None:
    """Raises ValueError if targets do not fit the token ids."""
    _check_dense("targets", y)
    dtype = _dtype_name(y)
    if rules.targets_are_ids and not dtype.startswith(("int", "uint", "float", "bfloat")):
        raise ValueError(f"Received targets of dtype {dtype}. {FORMS}")
    if _num_axes(y) is None:  # only those of another loss
        return
    shapes = f"Received token_ids of the shape {tuple(x.shape)} and targets of {tuple(y.shape)}."
    if len(y.shape) != 2:
        if rules.targets_are_ids:
            raise ValueError(
                f"{shapes} The default loss wants one id for each token, the next one. {FORMS} "
                "For probabilities as targets compile the model with a loss that takes them."
            )
        return
    pairs = zip(x.shape, y.shape, strict=True)
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise ValueError(f"{shapes} Each token has one target, the next token. {FORMS}")


def _check_weights(x: Any, sample_weight: Any) -> None:
    """Raises ValueError unless there is one weight for each row or for each token."""
    if _num_axes(sample_weight) is None:
        return
    shape = tuple(sample_weight.shape)
    pairs = list(zip(shape, x.shape, strict=False))
    if len(shape) not in (1, 2) or any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise ValueError(
            f"Received token_ids of the shape {tuple(x.shape)} and sample_weight of {shape}. "
            "Give a weight for each row, (batch,), or for each target, (batch, time)."
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


def _for_each_target(sample_weight: Any, x: Any, *, is_graph: bool) -> Any:
    """Returns weights of rows or of targets as weights of targets, float32 (batch, time).

    One form alone: a step that is traced for both does not know how many axes there are.
    """
    if is_graph:
        import tensorflow as tf

        weights = tf.cast(sample_weight, tf.float32)
        return (
            weights if _num_axes(weights) != 1 else tf.broadcast_to(weights[:, None], tf.shape(x))
        )
    weights = np.asarray(keras.ops.convert_to_numpy(sample_weight)).astype("float32")
    return weights if weights.ndim != 1 else np.broadcast_to(weights[:, None], x.shape)


def id_arrays(x: Any, y: Any) -> list[tuple[str, Any]]:
    """Returns what holds ids: token ids, and targets unless a loss of the user's has others."""
    return [("token_ids", x), *([("targets", y)] if _num_axes(y) == 2 else [])]


def is_wrong(rules: BatchRules, name: str, ids: Any) -> Any:
    """Returns where ids are outside the vocabulary and are no targets to ignore.

    Compared in the type that they came in: as int32, 2**32 would be 0, and 1.5 would be 1.
    """
    wide = "int64" if _dtype_name(ids).startswith(("int", "uint")) else "float64"
    if isinstance(ids, np.ndarray):
        ids = ids.astype(wide)
        is_whole = np.rint(ids) == ids  # a NaN is not
    else:
        import tensorflow as tf

        ids = tf.cast(ids, wide)
        is_whole = tf.math.rint(tf.cast(ids, "float64")) == tf.cast(ids, "float64")
    right = (ids >= 0) & (ids < rules.vocab_size) & is_whole
    return ~(right | (ids == IGNORED_TARGET) if name == "targets" else right)


def id_rule(rules: BatchRules, name: str) -> str:
    """Returns which ids are allowed, and what to do."""
    rule = f"Ids are integers of at least 0 and below vocab_size={rules.vocab_size}"
    if name == "targets":
        return f"{rule}, or {IGNORED_TARGET} for a target to ignore."
    return f"{rule}. Encode the text with the tokenizer of this model."


def length_rule(rules: BatchRules) -> str:
    """Returns how long a row may be, and what to do."""
    return (
        f"A row has at most context_length={rules.context_length} tokens. Split the text into "
        "windows, as `gpt2_keras.data.make_dataset` does."
    )
