"""Activation patching: where in the model the difference between two texts is decided."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from gpt2_keras.layers.activations import Observer, observing
from gpt2_keras.model import GPT2Model
from gpt2_keras.understanding.recording import record
from gpt2_keras.understanding.texts import ids_of, token_of, tokens_of
from gpt2_keras.validation import check_choice

# What is patched, and whether position by position or head by head.
_NAMES = {
    "resid": "hook_resid_pre",
    "attn": "hook_attn_out",
    "mlp": "hook_mlp_out",
    "head": "attn.hook_z",
}
SITES = tuple(_NAMES)
_TOKENS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class Patching:
    """What a run on the corrupted text becomes with one activation of the clean text.

    Args:
        sites: What was patched; see `patch`.
        clean, corrupted: The difference of the answer's logit and the foil's, after each text.
        values: Float32 array `(layers, time)`, of heads `(layers, heads)`: that difference with
            each activation patched, 0 for that of the corrupted text and 1 for the clean one.
        tokens: The tokens of the clean text.
    """

    sites: str
    clean: float
    corrupted: float
    values: np.ndarray
    tokens: list[str]


def patch(
    model: GPT2Model,
    clean: str | Sequence[int],
    corrupted: str | Sequence[int],
    answer: str | int,
    foil: str | int,
    sites: str = "resid",
    *,
    start_token: bool | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Patching:
    """Runs the corrupted text, with one activation after the other taken from the clean text.

    Sources: Meng et al., "Locating and Editing Factual Associations in GPT" (2022); Zhang and
    Nanda, "Towards Best Practices of Activation Patching" (2024): measured by the difference of
    two logits.

    Args:
        model: The model.
        clean: The text that the model answers with `answer`; or its ids.
        corrupted: A text of as many tokens that it answers with `foil`.
        answer, foil: The two tokens: their texts, as in `" Paris"`, or their ids.
        sites: What is patched: `"resid"`, the residual stream before each layer, `"attn"` or
            `"mlp"`, what attention or the feed-forward network adds, each at one position; or
            `"head"`, what an attention head gives, at all positions.
        start_token: As for `explore`.
        on_progress: Called with the number of layers done, and of all.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the two texts have not the same number of tokens or give the same
            difference, `answer` or `foil` is not one token, or there are no such sites.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> patch(GPT2LM(config), [1, 2, 3], [1, 4, 3], answer=5, foil=6).values.shape
        (2, 3)
    """
    check_choice("sites", sites, SITES)
    ids, _ = ids_of(model, clean, start_token=start_token, name="clean")
    other, _ = ids_of(model, corrupted, start_token=start_token, name="corrupted")
    if len(ids) != len(other):
        raise ValueError(
            f"clean has {len(ids)} tokens and corrupted {len(other)}. Positions are patched one "
            "for one, so both must have the same number. Change words for words of as many tokens."
        )
    pair = (token_of(model, answer, "answer"), token_of(model, foil, "foil"))
    difference = functools.partial(_difference, model, pair)
    before, after = float(difference(other[None])[0]), float(difference(ids[None])[0])
    if before == after:
        raise ValueError(
            f"answer={answer!r} and foil={foil!r} differ by {after:g} after both texts. There is "
            "nothing to bring back. Use texts, or tokens, that make a difference."
        )
    names = [f"blocks.{layer}.{_NAMES[sites]}" for layer in range(model.config.num_layers)]
    found = record(model, ids, names)
    count = model.config.num_heads if sites == "head" else len(ids)
    axis = 2 if sites == "head" else 1
    at_once = max(1, _TOKENS_AT_ONCE // len(ids))
    values = np.zeros((len(names), count), "float32")
    for layer, name in enumerate(names):
        for first in range(0, count, at_once):
            chosen = np.arange(first, min(first + at_once, count))
            function = functools.partial(_patched, chosen, axis, found[name])
            with observing(Observer(model, {name: function})):
                rows = difference(np.repeat(other[None], len(chosen), axis=0))
            values[layer, chosen] = (rows - before) / (after - before)
        if on_progress is not None:
            on_progress(layer + 1, len(names))
    return Patching(sites, after, before, values, tokens_of(model, ids)[0])


def _difference(model: GPT2Model, pair: tuple[int, int], token_ids: np.ndarray) -> np.ndarray:
    """Returns how much larger the first logit is after each row; (batch, time) → (batch,)."""
    logits = ops.convert_to_numpy(model(token_ids, num_logits=1, training=False)[:, 0])
    return np.asarray(logits[:, pair[0]] - logits[:, pair[1]])


def _patched(chosen: np.ndarray, axis: int, clean: np.ndarray, value: Any, _name: str) -> Any:
    """Returns an activation, in each row with another index along an axis of the clean text."""
    shape = [1] * len(value.shape)
    shape[0], shape[axis] = len(chosen), value.shape[axis]
    mask = np.reshape(chosen[:, None] == np.arange(value.shape[axis]), shape)
    return ops.where(mask, ops.cast(clean, value.dtype), value)
