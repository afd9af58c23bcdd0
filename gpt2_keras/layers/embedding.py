"""The position embedding."""

from typing import Any

import keras
import numpy as np
from keras import ops

from gpt2_keras.config import POSITION_EMBEDDINGS
from gpt2_keras.layers.initializers import position_embedding_initializer
from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.validation import check_choice

SINUSOID_BASE = 10000.0  # "Attention Is All You Need" (Vaswani et al., 2017), section 3.5


@keras.saving.register_keras_serializable(package="gpt2_keras")
class PositionEmbedding(keras.layers.Layer):
    """Looks up a vector for each position.

    Args:
        context_length: Number of positions.
        width: Size of each vector.
        kind: `"learned"`: trained vectors, as in GPT-2 (`wpe` in openai/gpt-2
            `src/model.py`). `"sinusoidal"`: fixed ones, see `sinusoids`.

    Call arguments:
        positions: Int tensor `(batch, time)`, each in `[0, context_length)`.

    Returns:
        Float tensor `(batch, time, width)`.

    Raises:
        ValueError: If `kind` is neither.

    Example:
        >>> PositionEmbedding(context_length=16, width=8)(np.array([[0, 1, 2]])).shape
        TensorShape([1, 3, 8])
    """

    def __init__(
        self, context_length: int, width: int, kind: str = "learned", **kwargs: Any
    ) -> None:
        check_choice("kind", kind, POSITION_EMBEDDINGS, advice="GPT-2 itself has 'learned'.")
        super().__init__(**kwargs)
        self.context_length = context_length
        self.width = width
        self.kind = kind

    def build(self, input_shape: tuple[int | None, ...] | None = None) -> None:  # noqa: ARG002
        """Creates the table of vectors."""
        learned = self.kind == "learned"
        self.embeddings = self.add_weight(
            shape=(self.context_length, self.width),
            initializer=position_embedding_initializer()
            if learned
            else lambda shape, dtype: ops.convert_to_tensor(sinusoids(*shape), dtype=dtype),
            trainable=learned,
            name="embeddings",
        )
        self.built = True

    def call(self, positions: Any) -> Any:
        """Looks up the vectors; see the class."""
        vectors = current_kernels().look_up(self.embeddings, positions)  # (batch, time, width)
        return ops.cast(vectors, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns `(batch, time, width)`."""
        return (*input_shape, self.width)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "context_length": self.context_length,
            "width": self.width,
            "kind": self.kind,
        }


def sinusoids(context_length: int, width: int) -> np.ndarray:
    """Returns the Transformer paper's fixed position vectors.

    `PE[p, 2i] = sin(p / 10000^(2i / width))` and `PE[p, 2i + 1]` its cosine.
    Source: "Attention Is All You Need" (Vaswani et al., 2017), section 3.5.

    Args:
        context_length: Number of positions.
        width: Size of each vector; even.

    Returns:
        Float32 array `(context_length, width)`.

    Example:
        >>> sinusoids(2, 4).round(3).tolist()
        [[0.0, 1.0, 0.0, 1.0], [0.841..., 0.54..., 0.009..., 1.0]]
    """
    even = np.arange(0, width, 2)
    angles = np.arange(context_length)[:, None] / SINUSOID_BASE ** (even / width)
    table = np.empty((context_length, width), "float32")
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)
    return table
