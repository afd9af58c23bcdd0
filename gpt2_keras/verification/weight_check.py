"""The comparison of an artifact's stored weights with those of its model."""

from typing import Any

import numpy as np

from gpt2_keras.model import GPT2Model
from gpt2_keras.verification.artifact import Artifact
from gpt2_keras.verification.certificate import Check


def check_weights(model: GPT2Model, artifact: Artifact) -> list[Check]:
    """Counts the weights that are not the model's, up to the rounding of their storage type.

    Texts reach few of the tokens of a large vocabulary, and what is compared on them would not
    show a changed row of another token.

    Returns:
        The check; none if the weights of the artifact cannot be read.
    """
    stored = artifact.weights()
    if stored is None:
        return []
    missing = [np.zeros(0, np.float32)] * (len(model.weights) - len(stored))
    names = [
        variable.path
        for variable, found in zip(model.weights, [*stored, *missing], strict=False)
        if not _equals(np.asarray(variable.value, np.float32), found, artifact.dtype)
    ]
    failure = (
        f"{len(names)} of {len(model.weights)} weights are not those of the model: "
        f"{', '.join(names):.200}. Export this model again."
    )
    details = {"weights": len(model.weights)}
    return [Check("weights that differ", len(names), 0, details, failure if names else "")]


def _equals(weight: np.ndarray, stored: np.ndarray, dtype: str) -> bool:
    same_shape = weight.shape == stored.shape
    return same_shape and bool((np.abs(weight - stored) <= _rounding(weight, dtype)).all())


def _rounding(weight: np.ndarray, dtype: str) -> Any:
    """Returns by how much a weight may differ from its stored form."""
    if dtype == "int8" and weight.ndim == 2:
        # Half of a step of a row, and what float32 rounds of the quotient and the product.
        steps = np.abs(weight).max(axis=-1, keepdims=True) / 127
        return steps * (0.5 + 127 * 2.0**-22)
    if dtype == "float16":  # 11 bits, and below its smallest normal number steps of 2**-24
        return np.maximum(np.abs(weight) * 2.0**-11, 2.0**-25)
    return np.abs(weight) * 2.0**-8 if dtype == "bfloat16" else 0.0
