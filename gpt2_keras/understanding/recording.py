"""Activations of the one forward pass: read by name, and changed by name."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from gpt2_keras.layers.activations import Function, Observer, observing
from gpt2_keras.model import GPT2Model
from gpt2_keras.token_ids import check_token_ids_form
from gpt2_keras.understanding.names import resolve_names

# KerasHub's: `layer_intercept_fn(x, i)`, of the embeddings with -1 and of each block's output.
LayerInterceptFunction = Callable[[Any, int], Any]


def record(model: GPT2Model, token_ids: Any, names: str | Sequence[str]) -> dict[str, np.ndarray]:
    """Runs a model and returns activations of it.

    | name | shape |
    |---|---|
    | `hook_embed`, `hook_pos_embed` | `(batch, time, width)` |
    | `blocks.0.hook_resid_pre`, `hook_resid_mid`, `hook_resid_post` | `(batch, time, width)` |
    | `blocks.0.hook_attn_out`, `hook_mlp_out` | `(batch, time, width)` |
    | `blocks.0.attn.hook_q`, `hook_k`, `hook_v`, `hook_z` | `(batch, time, heads, head_dim)` |
    | `blocks.0.attn.hook_attn_scores`, `hook_pattern` | `(batch, heads, time, time)` |
    | `blocks.0.mlp.hook_pre`, `hook_post` | `(batch, time, feed_forward_dim)` |
    | `blocks.0.ln1.hook_scale`, also of `ln2`, `ln_final` | `(batch, time, 1)` |
    | `blocks.0.ln1.hook_normalized`, also of `ln2`, `ln_final` | `(batch, time, width)` |

    Names and shapes are those of TransformerLens' HookedTransformer, of weights that are not
    processed: the norms keep their weights. Scores of later positions, which a softmax makes 0,
    are -1e10.

    Args:
        model: The model.
        token_ids: Int array `(batch, time)` or `(time,)`.
        names: The names, or one; `*` stands for anything, as in `"blocks.*.attn.hook_pattern"`.

    Returns:
        For each name an array, in the model's compute dtype; scores, patterns and scales in
        float32. bfloat16 becomes float32.

    Raises:
        ValueError: If there is no activation of a name, or the ids are none of the model's.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> found = record(GPT2LM(config), [[1, 2, 3]], "blocks.1.attn.hook_pattern")
        >>> found["blocks.1.attn.hook_pattern"].shape
        (1, 2, 3, 3)
    """
    resolved = resolve_names(model.config.num_layers, names)
    token_ids = as_rows(model, token_ids)
    found = observed(model, token_ids, set(resolved.values()))
    return {asked: to_numpy(found[full], len(token_ids)) for asked, full in resolved.items()}


def observed(model: GPT2Model, token_ids: Any, names: set[str]) -> dict[str, Any]:
    """Returns activations as tensors, and the logits as `"logits"`."""
    found: dict[str, Any] = {}

    def keep(value: Any, name: str) -> None:
        found[name] = value

    with observing(Observer(model, dict.fromkeys(names, keep))):
        found["logits"] = model(token_ids, training=False)
    return found


def to_numpy(value: Any, batch: int) -> np.ndarray:
    """Returns an activation as an array with a row for each text."""
    array = ops.convert_to_numpy(ops.cast(value, "float32") if _is_bfloat16(value) else value)
    # Position embeddings are computed once for all rows.
    return np.broadcast_to(array, (batch, *array.shape[1:]))


def as_rows(model: GPT2Model, token_ids: Any) -> np.ndarray:
    """Returns token ids as an array `(batch, time)`, checked."""
    flat = isinstance(token_ids, (list, tuple)) and all(map(np.isscalar, token_ids))
    if flat or getattr(token_ids, "ndim", 2) == 1:
        token_ids = np.asarray(token_ids)[None]
    rows = np.asarray(check_token_ids_form(token_ids))
    if rows.shape[1] > model.config.context_length:
        raise ValueError(
            f"{rows.shape[1]} tokens are more than context_length={model.config.context_length}. "
            "Leave some out."
        )
    if not rows.size:
        raise ValueError(
            f"token_ids of shape {rows.shape} have no token. At least one is needed; "
            "`tokenizer.end_token_id` begins a text."
        )
    model.check_token_ids(rows)
    return np.asarray(rows, "int32")


@contextlib.contextmanager
def edit(
    model: GPT2Model, functions: Mapping[str, Function] | LayerInterceptFunction
) -> Iterator[None]:
    """Changes activations of a model's forward pass while the block runs, in this thread.

    All that calls the model is changed: `model(…)`, `generate`, `score`, `fit`, `explore`. What
    is compiled must be made of `keras.ops`, or of TensorFlow's or JAX' own functions. Editing
    nothing changes nothing, bit for bit.

    Args:
        model: The model.
        functions: For each name, with the names and wildcards of `record`, a function of the
            activation and its name. It returns what takes its place, of the same shape, or None
            to leave it. Or KerasHub's `layer_intercept_fn(x, i)`: a function of the embeddings,
            with -1, and of the output of each block, with its index.

    Raises:
        TypeError: If a function is none.
        ValueError: If there is no activation of a name, or a function returns another shape.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> model = GPT2LM(config)
        >>> before = model(np.array([[1, 2, 3]]))
        >>> with edit(model, {"blocks.*.hook_mlp_out": lambda value, name: 0 * value}):
        ...     after = model(np.array([[1, 2, 3]]))
        >>> bool(np.all(before == after))
        False
    """
    layers = model.config.num_layers
    if callable(functions):
        functions = _by_name(functions, layers)
    checked: dict[str, Function] = {}
    for asked, function in functions.items():
        if not callable(function):
            raise TypeError(
                f"functions[{asked!r}] is {function!r}, which cannot be called. It must be a "
                "function `(value, name)` that returns the new value."
            )
        checked |= dict.fromkeys(resolve_names(layers, asked).values(), _same_shape(function))
    with observing(Observer(model, checked)), _steps_traced_again(model):
        yield


def _by_name(function: LayerInterceptFunction, num_layers: int) -> dict[str, Function]:
    """Returns the functions of activations that KerasHub's one function stands for."""
    names = ["blocks.0.hook_resid_pre"]
    names += [f"blocks.{index}.hook_resid_post" for index in range(num_layers)]
    indices = {name: index for index, name in enumerate(names, start=-1)}
    return dict.fromkeys(names, lambda value, name: function(value, indices[name]))


def _same_shape(function: Function) -> Function:
    """Returns the function, checked to return a value of the shape that it was given."""

    def checked(value: Any, name: str) -> Any:
        changed = function(value, name)
        if changed is None or changed is value:
            return changed
        changed = ops.cast(ops.convert_to_tensor(changed), value.dtype)
        if tuple(changed.shape) != tuple(value.shape):
            raise ValueError(
                f"The function of {name} returned shape {tuple(changed.shape)} for "
                f"{tuple(value.shape)}. The shape must stay the same. Return a value of it, or "
                "None to leave the activation as it is."
            )
        return changed

    return checked


@contextlib.contextmanager
def _steps_traced_again(model: keras.Model) -> Iterator[None]:
    """Has Keras trace its steps in the block, and use those from before it afterwards."""
    names = ("train_function", "test_function", "predict_function")
    before = {name: getattr(model, name, None) for name in names}
    for name in names:
        setattr(model, name, None)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(model, name, function)


def _is_bfloat16(value: Any) -> bool:
    return bool(keras.backend.standardize_dtype(value.dtype) == "bfloat16")
