"""A decoder block of GPT-2, and the stack of them."""

from typing import Any

import keras
from keras import ops

from gpt2_keras.layers.activations import is_observing, observe, scope
from gpt2_keras.layers.attention import CausalSelfAttention
from gpt2_keras.layers.feed_forward import FeedForward
from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.layers.normalization import LayerNorm, normalize
from gpt2_keras.layers.remat import PRODUCTS, rematerialize


@keras.saving.register_keras_serializable(package="gpt2_keras")
class DecoderBlock(keras.layers.Layer):
    """Adds the outputs of attention and of the feed-forward network to the residual stream.

    Each sub-layer reads the normalized stream (pre-norm). Source: `block` in
    openai/gpt-2 `src/model.py`.

    Args:
        num_heads: Number of attention heads. Must divide the input width.
        intermediate_dim: Width inside the feed-forward network.
        dropout_rate: Fraction of activations zeroed in training, in [0, 1).
        num_residual_layers: Number of additions to the residual stream in the
            whole model, two per block.

    Call arguments:
        x: Float tensor `(batch, time, width)`.
        attention_mask, cache, slots, overwrite_cache: As for `CausalSelfAttention`.

    Returns:
        Float tensor `(batch, time, width)`; with a cache, a pair of that and the
        cache.

    Example:
        >>> DecoderBlock(num_heads=2, intermediate_dim=32)(np.zeros((1, 6, 8), "float32")).shape
        TensorShape([1, 6, 8])
    """

    def __init__(
        self,
        num_heads: int,
        intermediate_dim: int,
        dropout_rate: float = 0.0,
        num_residual_layers: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.dropout_rate = dropout_rate
        self.num_residual_layers = num_residual_layers
        sublayer = {
            "dropout_rate": dropout_rate,
            "num_residual_layers": num_residual_layers,
            "dtype": self.dtype_policy,
        }
        self.attention_norm = LayerNorm(name="attention_norm", dtype=self.dtype_policy)
        self.attention = CausalSelfAttention(num_heads, name="attention", **sublayer)
        self.feed_forward_norm = LayerNorm(name="feed_forward_norm", dtype=self.dtype_policy)
        self.feed_forward = FeedForward(intermediate_dim, name="feed_forward", **sublayer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the two sub-layers and their norms."""
        self.attention_norm.build(input_shape)
        self.attention.build(input_shape)
        self.feed_forward_norm.build(input_shape)
        self.feed_forward.build(input_shape)
        self.built = True

    @property
    def dropouts(self) -> list[keras.layers.Dropout]:
        """Every dropout of the block."""
        attention = self.attention
        return [attention.attention_dropout, attention.output_dropout, self.feed_forward.dropout]

    def call(
        self,
        x: Any,
        attention_mask: Any = None,
        cache: Any = None,
        slots: Any = None,
        overwrite_cache: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Runs the block; see the class."""
        x = observe("hook_resid_pre", x)
        mixed = self.attention(
            normalize(self.attention_norm, x, "ln1"),
            attention_mask=attention_mask,
            cache=cache,
            slots=slots,
            overwrite_cache=overwrite_cache,
            training=training,
        )
        if cache is not None:
            mixed, cache = mixed
        x = observe("hook_resid_mid", x + observe("hook_attn_out", mixed))
        added = self.feed_forward(normalize(self.feed_forward_norm, x, "ln2"), training=training)
        x = observe("hook_resid_post", x + observe("hook_mlp_out", added))
        return x if cache is None else (x, cache)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], **_: Any
    ) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "dropout_rate": self.dropout_rate,
            "num_residual_layers": self.num_residual_layers,
        }


@keras.saving.register_keras_serializable(package="gpt2_keras")
class DecoderStack(keras.layers.Layer):
    """The blocks one after the other, and the final norm.

    Source: `model` in openai/gpt-2 `src/model.py`.

    Args:
        num_layers: Number of blocks.
        num_heads: Number of attention heads per block. Must divide the width.
        intermediate_dim: Width inside the feed-forward networks.
        dropout_rate: Fraction of activations zeroed in training, in [0, 1).

    Call arguments:
        x: Float tensor `(batch, time, width)`: the embedded tokens.
        attention_mask: As for `CausalSelfAttention`.
        cache: List of `num_layers` caches as `CausalSelfAttention` takes them, or None.
        cache_index: Number of positions that the cache holds already.
        overwrite_cache: As for `Kernels.update_cache`.

    Returns:
        A pair: the list of the `num_layers + 1` hidden states, float tensors
        `(batch, time, width)`: the input, the output of each block but the last,
        and the normalized output of the last; and the updated cache, or None.

    Example:
        >>> stack = DecoderStack(num_layers=3, num_heads=2, intermediate_dim=32)
        >>> states, cache = stack(np.zeros((1, 6, 8), "float32"))
        >>> len(states), cache
        (4, None)
    """

    def __init__(
        self,
        num_layers: int,
        num_heads: int,
        intermediate_dim: int,
        dropout_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.dropout_rate = dropout_rate
        self.remat: bool | str = False  # set by `GPT2LM.compile`
        self.blocks = [
            DecoderBlock(
                num_heads,
                intermediate_dim,
                dropout_rate,
                num_residual_layers=2 * num_layers,
                dtype=self.dtype_policy,
                name=f"block_{index}",
            )
            for index in range(num_layers)
        ]
        self.final_norm = LayerNorm(dtype=self.dtype_policy, name="final_norm")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the blocks and the final norm."""
        for block in self.blocks:
            block.build(input_shape)
        self.final_norm.build(input_shape)
        self.built = True

    def call(
        self,
        x: Any,
        attention_mask: Any = None,
        cache: Any = None,
        cache_index: Any = 0,
        overwrite_cache: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Runs the stack; see the class."""
        slots = None
        if cache is not None:
            slots = current_kernels().cache_slots(cache[0], ops.shape(x)[1], cache_index)
        remat = self.remat if training and cache is None and not is_observing() else False
        states, new_cache = [x], []
        for index, block in enumerate(self.blocks):
            if remat:
                keep_products = remat == PRODUCTS
                x = rematerialize(block, x, attention_mask, keep_products=keep_products)
                states.append(x)
                continue
            layer_cache = None if cache is None else cache[index]
            with scope(f"blocks.{index}"):
                x = block(
                    x,
                    attention_mask=attention_mask,
                    cache=layer_cache,
                    slots=slots,
                    overwrite_cache=overwrite_cache,
                    training=training,
                )
            if cache is not None:
                x, layer_cache = x
                new_cache.append(layer_cache)
            states.append(x)
        states[-1] = normalize(self.final_norm, x, "ln_final")
        return states, None if cache is None else new_cache

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "dropout_rate": self.dropout_rate,
        }
