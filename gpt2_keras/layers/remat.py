"""Rematerialization: activations computed again in the backward pass instead of kept."""

from typing import Any

import keras
from keras import ops

from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.validation import check_flag

PRODUCTS = "products"


def check_remat(name: str, value: Any) -> bool | str:
    """Returns which activations are rematerialized: True, False or `"products"`.

    Raises:
        TypeError: If it is none of them.
        ValueError: If the backend cannot keep products.
    """
    if value != PRODUCTS:
        return check_flag(name, value, advice=f"On JAX {PRODUCTS!r} keeps the products.")
    if (backend := keras.backend.backend()) != "jax":
        raise ValueError(
            f"{name}={value!r} was given, and Keras runs on {backend}. Only JAX can keep the "
            f"products and rematerialize the rest. Use {name}=True, or set KERAS_BACKEND=jax."
        )
    return PRODUCTS


def rematerialize(
    block: Any, x: Any, attention_mask: Any = None, *, keep_products: bool = False
) -> Any:
    """Returns the output of a `DecoderBlock` in training, keeping only its input.

    The backward pass runs the block a second time, without the products that were kept.
    Outputs, gradients and dropout masks are those of a plain call: the second run sees the
    weights and the random state that the first one saw, and the state advances once.

    Args:
        block: The block, built.
        x: Float tensor `(batch, time, width)`.
        attention_mask: As for `CausalSelfAttention`.
        keep_products: Whether the results of its linear maps are kept as well.

    Returns:
        Float tensor `(batch, time, width)`.
    """
    trained = block.trainable_variables
    dropouts = [layer for layer in block.dropouts if layer.rate]
    fixed = [
        *((variable, ops.copy(variable)) for variable in block.non_trainable_variables),
        # Later pairs count: the states from before `next` advanced them.
        *((layer.seed_generator.state, layer.seed_generator.next()) for layer in dropouts),
    ]

    def run(x: Any, *values: Any) -> Any:
        pairs = [*zip(trained, values, strict=True), *fixed]
        with keras.StatelessScope(state_mapping=pairs):
            return block(x, attention_mask=attention_mask, training=True)

    # Gradients reach only arguments, so the weights are among them.
    return current_kernels().remat(run, keep_products)(x, *map(ops.copy, trained))
