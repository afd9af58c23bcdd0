"""What changes without an attention head: one, several, and each in turn."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from gpt2_keras.layers.activations import Function, Observer, observing
from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.model import GPT2Model
from gpt2_keras.understanding.exploration import Exploration
from gpt2_keras.understanding.explore import explore
from gpt2_keras.understanding.lens import predict
from gpt2_keras.understanding.recording import record
from gpt2_keras.understanding.texts import ids_of
from gpt2_keras.validation import check_choice, check_integer, check_list, check_texts

MODES = ("mean", "zero", "resample")
IMPORTANCE_METHODS = ("gradient", "exact")
# Of a batch of rows without one head each: bytes of the logits that are in memory at once.
_LOGITS_BYTES = 2**28

Head = str | Sequence[int]


def parse_head(model: GPT2Model, head: Head, name: str = "heads") -> tuple[int, int]:
    """Returns the layer and the number of a head, each from 0.

    Args:
        model: The model.
        head: `"5.1"`, or `(5, 1)`.
        name: What messages call it.

    Raises:
        TypeError: If it is neither.
        ValueError: If there is no such head.
    """
    layers, heads = model.config.num_layers, model.config.num_heads
    if isinstance(head, str):
        match = re.fullmatch(r"\s*(\d+)\.(\d+)\s*", head)
        numbers = [int(each) for each in match.groups()] if match else []
    else:
        numbers = list(check_list(name, head, "a head such as '5.1' or (5, 1)"))
        for each in numbers:
            check_integer(name, each)
    if len(numbers) != 2 or not (0 <= numbers[0] < layers and 0 <= numbers[1] < heads):
        raise ValueError(
            f"{name}={head!r} is no head of this model. A head is LAYER.HEAD, counted from 0: "
            f"layers to {layers - 1}, heads to {heads - 1}. Use, for example, '0.{heads - 1}'."
        )
    return numbers[0], numbers[1]


def _parse_heads(model: GPT2Model, heads: Any) -> list[tuple[int, int]]:
    """Returns the layer and the number of each of several heads, or of one."""
    if isinstance(heads, str) or (heads and isinstance(heads[0], int)):
        heads = [heads]
    return [parse_head(model, each) for each in check_list("heads", heads, "a list of heads")]


def ablate(
    model: GPT2Model,
    text: str | Sequence[int],
    heads: Head | Sequence[Head],
    mode: str = "mean",
    *,
    reference: str | Sequence[int] | None = None,
    seed: int = 0,
    **options: Any,
) -> Exploration:
    """Explores a text with some attention heads taken out.

    The result is what `explore` returns, so that it can be compared with that of the whole model.
    `edit` with a function of `blocks.5.attn.hook_z` takes heads out of anything else.

    Args:
        model: The model.
        text: The text; or its ids.
        heads: The heads: `"5.1"` is head 1 of layer 5, both from 0; one or a list.
        mode: What a head gives at each position instead. `"mean"`: the mean of what it gives at
            all positions of the reference text. `"zero"`: nothing, which the layers after it have
            never met. `"resample"`: what it gives at a random position of the reference text.
        reference: The text for `"mean"` and `"resample"`. By default `text` itself.
        seed: Of `"resample"`.
        **options: As for `explore`.

    Raises:
        TypeError, ValueError: If an argument is of the wrong type or out of range.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> ablate(GPT2LM(config), [1, 2, 3], heads=["0.1", "1.0"]).log_probs.shape
        (3,)
    """
    check_choice("mode", mode, MODES)
    check_integer("seed", seed, minimum=0)
    chosen = _parse_heads(model, heads)
    given = {name: options[name] for name in ("start_token", "special_tokens") if name in options}
    ids, _ = ids_of(model, text, **given)
    instead = ids if reference is None else ids_of(model, reference, name="reference")[0]
    replacements = _replacements(model, instead, len(ids), mode, seed)
    functions: dict[str, Function] = {}
    for layer in {layer for layer, _ in chosen}:
        rows = [[head for own, head in chosen if own == layer]]
        functions[_z(layer)] = functools.partial(_without, rows, replacements[layer])
    with observing(Observer(model, functions)):
        return explore(model, text, **options)


def ablate_each(
    model: GPT2Model,
    token_ids: np.ndarray,
    targets: np.ndarray,
    mode: str = "mean",
    k: int = 5,
    *,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Takes out every head in turn, and returns what is predicted then.

    Args:
        model: The model.
        token_ids: Int32 array `(time,)`.
        targets: Int32 array `(time,)`: the token whose log-probability after each is asked for.
        mode, seed: As for `ablate`; the text is its own reference.
        k: Number of candidates.
        on_progress: Called with the number of heads done, and of all.

    Returns:
        The log-probabilities of the targets, float32 `(layers, heads, time)`; the most likely
        tokens, int32 `(layers, heads, time, k)`, and their probabilities, float32 of that shape.
    """
    config, time = model.config, len(token_ids)
    replacements = _replacements(model, token_ids, time, mode, seed)
    shape = (config.num_layers, config.num_heads, time)
    log_probs = np.zeros(shape, "float32")
    ids, probs = np.zeros((*shape, k), "int32"), np.zeros((*shape, k), "float32")
    at_once = max(1, _LOGITS_BYTES // (4 * time * config.vocab_size))
    for layer in range(config.num_layers):
        for first in range(0, config.num_heads, at_once):
            heads = range(first, min(first + at_once, config.num_heads))
            without = functools.partial(_without, [[head] for head in heads], replacements[layer])
            with observing(Observer(model, {_z(layer): without})):
                logits = model(np.repeat(token_ids[None], len(heads), axis=0), training=False)
            for row, head in enumerate(heads):
                found = predict(ops.log_softmax(logits[row], axis=-1), targets, k)
                log_probs[layer, head] = found.log_probs
                ids[layer, head], probs[layer, head] = found.ids, found.probs
            if on_progress is not None:
                on_progress(layer * config.num_heads + heads[-1] + 1, shape[0] * shape[1])
    return log_probs, ids, probs


def head_importance(
    model: GPT2Model,
    texts: str | Sequence[str],
    method: str = "gradient",
    *,
    mode: str = "zero",
    on_progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Measures how much the prediction of texts depends on each attention head.

    Args:
        model: A model with a tokenizer.
        texts: The texts, one or several, each at most a context long.
        method: `"gradient"`: the mean over texts of the absolute gradient of the loss in a gate
            that scales the head's output, one backward pass per text. Source: Michel et al.,
            "Are Sixteen Heads Really Better than One?" (2019), section 4.1. `"exact"`: how much
            the loss rises when the head is taken out, one forward pass per head.
        mode: Of `"exact"`: what a head gives instead, as for `ablate`.
        on_progress: Called with the number of texts done, and of all.

    Returns:
        Float32 array `(layers, heads)`, in nats per token.

    Raises:
        TypeError, ValueError: If an argument is of the wrong type or out of range, or a text is
            empty or too long.
    """
    check_choice("method", method, IMPORTANCE_METHODS)
    check_choice("mode", mode, MODES)
    listed = check_texts("texts", texts)
    measure = _gate_gradients if method == "gradient" else functools.partial(_loss_rises, mode=mode)
    total = np.zeros((model.config.num_layers, model.config.num_heads), "float64")
    for index, text in enumerate(listed):
        total += measure(model, ids_of(model, text, name=f"texts[{index}]")[0])
        if on_progress is not None:
            on_progress(index + 1, len(listed))
    return (total / len(listed)).astype("float32")


def _gate_gradients(model: GPT2Model, token_ids: np.ndarray) -> np.ndarray:
    """Returns the absolute gradients of the loss in a gate of each head, all of them 1."""
    layers, heads = model.config.num_layers, model.config.num_heads
    index = ops.convert_to_tensor(token_ids[1:, None])

    def loss(gates: Any) -> Any:
        def gated(value: Any, name: str) -> Any:
            gate = ops.cast(gates[int(name.split(".")[1])], value.dtype)
            return value * ops.reshape(gate, (1, 1, heads, 1))

        with observing(Observer(model, {_z(layer): gated for layer in range(layers)})):
            logits = model(token_ids[None], training=False)[0, :-1]
        return -ops.mean(ops.take_along_axis(ops.log_softmax(logits, axis=-1), index, 1))

    _, gradient = current_kernels().value_and_gradient(loss, np.ones((layers, heads), "float32"))
    return np.abs(ops.convert_to_numpy(gradient))


def _loss_rises(model: GPT2Model, token_ids: np.ndarray, mode: str) -> np.ndarray:
    """Returns how much the mean loss of a text rises without each head."""
    log_probs = ops.log_softmax(model(token_ids[None], training=False)[0], axis=-1)
    targets = np.append(token_ids[1:], token_ids[:1])  # after the last token nothing is asked
    whole = predict(log_probs, targets, 1).log_probs[:-1].mean()
    without, _, _ = ablate_each(model, token_ids, targets, mode, k=1)
    return np.asarray(whole - without[:, :, :-1].mean(axis=2))


def _replacements(
    model: GPT2Model, reference: np.ndarray, time: int, mode: str, seed: int
) -> list[np.ndarray]:
    """Returns what heads give instead, for each layer float `(time, heads, head_dim)`."""
    config = model.config
    if mode == "zero":
        return [np.zeros((time, config.num_heads, config.head_dim), "float32")] * config.num_layers
    names = [_z(layer) for layer in range(config.num_layers)]
    found = record(model, reference, names)
    if mode == "mean":
        means = [found[name].astype("float32").mean(axis=1) for name in names]
        return [np.repeat(mean, time, axis=0) for mean in means]
    positions = np.random.default_rng(seed).integers(0, len(reference), time)
    return [found[name][0, positions] for name in names]


def _without(rows: Sequence[Sequence[int]], replacement: np.ndarray, value: Any, _name: str) -> Any:
    """Returns `hook_z` with heads replaced, in each row others.

    Args:
        rows: The heads to replace in each row of the batch.
        replacement: Float array `(time, heads, head_dim)`.
        value: Float tensor `(batch, time, heads, head_dim)`.
    """
    replaced = np.zeros((len(rows), 1, value.shape[2], 1), bool)
    for row, heads in enumerate(rows):
        replaced[row, 0, list(heads), 0] = True
    return ops.where(replaced, ops.cast(replacement[None], value.dtype), value)


def _z(layer: int) -> str:
    return f"blocks.{layer}.attn.hook_z"
