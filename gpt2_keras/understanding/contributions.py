"""Direct logit attribution: what every part of a model adds to a logit."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from gpt2_keras.model import GPT2Model
from gpt2_keras.understanding.recording import observed
from gpt2_keras.understanding.texts import ids_of, token_of


@dataclasses.dataclass(frozen=True)
class Contributions:
    """What the parts of a model add to a logit, or to the difference of two.

    All of them together are `logit`, up to rounding.

    Args:
        target, foil: The id of the token, and of the one whose logit is subtracted or None.
        logit: The logit, or the difference.
        embedding: What the last token's embedding adds.
        position_embedding: What the embedding of its position adds.
        heads: Float32 array `(layers, heads)`: what each attention head adds.
        attention_biases: Float32 array `(layers,)`: the biases of attention's outputs.
        feed_forward: Float32 array `(layers,)`: what each feed-forward network adds.
        final_norm_bias: What the bias of the final norm adds.
    """

    target: int
    foil: int | None
    logit: float
    embedding: float
    position_embedding: float
    heads: np.ndarray
    attention_biases: np.ndarray
    feed_forward: np.ndarray
    final_norm_bias: float

    @property
    def total(self) -> float:
        """The sum of all contributions."""
        parts = (self.heads, self.attention_biases, self.feed_forward)
        single = self.embedding + self.position_embedding + self.final_norm_bias
        return single + sum(float(np.sum(part, dtype="float64")) for part in parts)


def contributions(
    model: GPT2Model,
    text: str | Sequence[int],
    target: str | int,
    foil: str | int | None = None,
    *,
    start_token: bool | None = None,
) -> Contributions:
    """Splits the logit of the token after a text into what each part of the model adds to it.

    The residual stream is a sum, and the logits are linear in it once the scale of the final
    norm is held at what it was. Source: Elhage et al., "A Mathematical Framework for Transformer
    Circuits" (2021).

    Args:
        model: The model.
        text: The text; or its ids.
        target: The token: its text, as in `" Paris"`, or its id.
        foil: A token whose logit is subtracted: why `target` and not this one? By default none.
        start_token: As for `explore`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the text is empty or too long, or `target` or `foil` is not one token.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> found = contributions(GPT2LM(config), [1, 2, 3], target=4)
        >>> found.heads.shape, abs(found.total - found.logit) < 1e-4
        ((2, 2), True)
    """
    ids, _ = ids_of(model, text, start_token=start_token)
    target_id = token_of(model, target, "target")
    foil_id = None if foil is None else token_of(model, foil, "foil")
    layers, num_heads = range(model.config.num_layers), model.config.num_heads
    names = {"hook_embed", "hook_pos_embed", "ln_final.hook_scale"}
    for layer in layers:
        names |= {f"blocks.{layer}.attn.hook_z", f"blocks.{layer}.hook_mlp_out"}
    found = observed(model, ids[None], names)
    logits = _last(found["logits"])
    norm = model.decoder.final_norm
    table = _float32(model.token_embedding.embeddings)
    direction = table[target_id] - (0.0 if foil_id is None else table[foil_id])  # (width,)
    weighted = _float32(norm.gamma) * direction / _last(found["ln_final.hook_scale"])

    def added(part: np.ndarray) -> Any:
        """(…, width) → (…): what parts of the residual stream add."""
        return (part - part.mean(axis=-1, keepdims=True)) @ weighted

    heads, biases = [], []
    for layer in layers:
        projection = model.decoder.blocks[layer].attention.output_projection
        kernel = projection.merged_kernel()  # (width, heads × head_dim)
        kernel = kernel.reshape(len(kernel), num_heads, -1)
        z = _last(found[f"blocks.{layer}.attn.hook_z"])  # (heads, head_dim)
        heads.append(added(np.einsum("hd,whd->hw", z, kernel)))
        biases.append(added(_float32(projection.bias)))
    outputs = np.stack([_last(found[f"blocks.{layer}.hook_mlp_out"]) for layer in layers])
    return Contributions(
        target=target_id,
        foil=foil_id,
        logit=float(logits[target_id] - (0.0 if foil_id is None else logits[foil_id])),
        embedding=float(added(_last(found["hook_embed"]))),
        position_embedding=float(added(_last(found["hook_pos_embed"]))),
        heads=np.stack(heads),
        attention_biases=np.stack(biases),
        feed_forward=added(outputs),
        final_norm_bias=float(_float32(norm.beta) @ direction),
    )


def _float32(value: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.cast(value, "float32")))


def _last(value: Any) -> np.ndarray:
    """Returns what an activation is at the last position of the only text."""
    return _float32(value[0, -1])
