"""The feed-forward network of each block."""

from typing import Any

import keras

from gpt2_keras.layers.activations import observe
from gpt2_keras.layers.initializers import kernel_initializer, residual_initializer
from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.layers.projection import Projection


@keras.saving.register_keras_serializable(package="gpt2_keras")
class FeedForward(keras.layers.Layer):
    """Widens each position, applies GELU, and narrows it again.

    GPT-2 has the tanh form of GELU, `0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))`,
    not the exact one. Source: `mlp` and `gelu` in openai/gpt-2 `src/model.py`.

    Args:
        intermediate_dim: Width in the middle.
        dropout_rate: Fraction of outputs zeroed in training, in [0, 1).
        num_residual_layers: Number of additions to the residual stream in the
            whole model; scales the second projection's initial weights.

    Call arguments:
        x: Float tensor `(batch, time, width)`.

    Returns:
        Float tensor `(batch, time, width)`.

    Example:
        >>> FeedForward(intermediate_dim=32)(np.zeros((1, 6, 8), "float32")).shape
        TensorShape([1, 6, 8])
    """

    def __init__(
        self,
        intermediate_dim: int,
        dropout_rate: float = 0.0,
        num_residual_layers: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.intermediate_dim = intermediate_dim
        self.dropout_rate = dropout_rate
        self.num_residual_layers = num_residual_layers

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the two projections for inputs of the given shape."""
        width = input_shape[-1]
        assert width is not None  # noqa: S101 -- tells the type checker
        self.expand = Projection(
            self.intermediate_dim,
            kernel_initializer=kernel_initializer(),
            dtype=self.dtype_policy,
            name="expand",
        )
        self.expand.build(input_shape)
        self.project = Projection(
            width,
            kernel_initializer=residual_initializer(self.num_residual_layers),
            dtype=self.dtype_policy,
            name="project",
        )
        self.project.build((*input_shape[:-1], self.intermediate_dim))
        self.dropout = keras.layers.Dropout(self.dropout_rate, dtype=self.dtype_policy)
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Transforms each position by itself; see the class."""
        x = observe("mlp.hook_pre", self.expand(x))  # (batch, time, intermediate)
        x = observe("mlp.hook_post", current_kernels().gelu(x, training))
        return self.dropout(self.project(x), training=training)  # (batch, time, width)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
            "dropout_rate": self.dropout_rate,
            "num_residual_layers": self.num_residual_layers,
        }
