"""The logit lens: what a model would predict if it stopped after each step.

Source: nostalgebraist, "interpreting GPT: the logit lens" (2020). The final norm is applied at
each step, with that step's own mean and variance.
"""

import dataclasses
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from gpt2_keras.model import GPT2Model


class Prediction(NamedTuple):
    """What a number of positions predict, and what they say of a target.

    Args:
        ids: Int32 array `(time, k)`: the most likely tokens, the most likely first.
        probs: Float32 array `(time, k)`: their probabilities.
        log_probs: Float32 array `(time,)`: the targets' log-probabilities, in nats.
        ranks: Int32 array `(time,)`: the targets' ranks; 1 is the most likely.
        entropies: Float32 array `(time,)`, in nats.
    """

    ids: np.ndarray
    probs: np.ndarray
    log_probs: np.ndarray
    ranks: np.ndarray
    entropies: np.ndarray


@dataclasses.dataclass(frozen=True)
class Lens:
    """Predictions of every position at every step of the forward pass.

    Args:
        points: Names of the `2 · layers + 1` steps: `"embeddings"`, then for each layer
            `"0 attention"` and `"0 feed-forward"`.
        ids: Int32 array `(points, time, k)`: the most likely tokens.
        probs: Float32 array `(points, time, k)`: their probabilities.
        ranks: Int32 array `(points, time)`: the rank of each position's target.
        kl: Float32 array `(points, time)`: the Kullback-Leibler divergence of the final
            prediction from this one, in nats; 0 at the last point.
    """

    points: list[str]
    ids: np.ndarray
    probs: np.ndarray
    ranks: np.ndarray
    kl: np.ndarray


def lens_names(num_layers: int) -> dict[str, str]:
    """Returns the activation that each point of the lens reads, by the point's name.

    Example:
        >>> lens_names(1)
        {'embeddings': 'blocks.0.hook_resid_pre', '0 attention': 'blocks.0.hook_resid_mid',
         '0 feed-forward': 'blocks.0.hook_resid_post'}
    """
    names = {"embeddings": "blocks.0.hook_resid_pre"}
    for index in range(num_layers):
        names[f"{index} attention"] = f"blocks.{index}.hook_resid_mid"
        names[f"{index} feed-forward"] = f"blocks.{index}.hook_resid_post"
    return names


def lens_logits(model: GPT2Model, residual: Any) -> Any:
    """Returns the logits of the residual stream, float32 `(batch, time, vocab)`.

    Args:
        model: The model.
        residual: Float tensor `(batch, time, width)`, before the final norm.
    """
    return logits_of(model, residual, normalize=True)


def logits_of(model: GPT2Model, x: Any, normalize: bool = False) -> Any:
    """Returns the logits of hidden states as the model itself computes them.

    Args:
        model: The model.
        x: Float tensor `(batch, time, width)`.
        normalize: Whether they are from before the final norm.

    Returns:
        Float32 tensor `(batch, time, vocab)`.
    """

    def logits(x: Any) -> Any:
        return model.logits_of(model.decoder.final_norm(x) if normalize else x)

    # In a layer, as in the model: Keras casts weights by the layer around.
    return keras.layers.Lambda(logits, dtype=model.dtype_policy)(x)


def predict(log_probs: Any, targets: np.ndarray, k: int) -> Prediction:
    """Returns what log-probabilities say of the next tokens.

    Args:
        log_probs: Float32 tensor `(time, vocab)`.
        targets: Int32 array `(time,)`.
        k: Number of candidates.
    """
    top, ids = ops.top_k(log_probs, k)
    index = ops.expand_dims(ops.convert_to_tensor(targets, "int32"), 1)  # (time, 1)
    own = ops.take_along_axis(log_probs, index, 1)  # (time, 1)
    # Among equals the smaller id comes first, as in `top_k`.
    columns = ops.expand_dims(ops.arange(log_probs.shape[1], dtype="int32"), 0)
    earlier = ops.logical_or(log_probs > own, ops.logical_and(log_probs == own, columns < index))
    ranks = 1 + ops.sum(ops.cast(earlier, "int32"), axis=1)
    entropies = -ops.sum(ops.exp(log_probs) * log_probs, axis=1)
    arrays = (ids, ops.exp(top), own[:, 0], ranks, entropies)
    return Prediction(*map(ops.convert_to_numpy, arrays))


def look_through(
    model: GPT2Model, residuals: dict[str, Any], final: Any, targets: np.ndarray, k: int
) -> Lens:
    """Returns the lens of one text.

    Args:
        model: The model.
        residuals: Activations `(1, time, width)` by the names that `lens_names` says.
        final: The model's own log-probabilities, float32 `(time, vocab)`.
        targets: Int32 array `(time,)`: the tokens whose ranks are asked for.
        k: Number of candidates.
    """
    points, found, divergences = lens_names(model.config.num_layers), [], []
    for name in points.values():
        log_probs = ops.log_softmax(lens_logits(model, residuals[name])[0], axis=-1)
        found.append(predict(log_probs, targets, k))  # log_probs: (time, vocab)
        kl = ops.sum(ops.exp(final) * (final - log_probs), axis=1)
        divergences.append(ops.convert_to_numpy(kl))
    return Lens(
        list(points),
        np.stack([each.ids for each in found]),
        np.stack([each.probs for each in found]),
        np.stack([each.ranks for each in found]),
        np.stack(divergences),
    )
