"""Rematerialization: activations computed again in the backward pass instead of kept."""

from typing import Any

import keras
from keras import ops


def rematerialize(block: Any, x: Any, attention_mask: Any = None) -> Any:
    """Returns the output of a `DecoderBlock` in training, keeping only its input.

    The backward pass runs the block a second time. Outputs, gradients and dropout masks
    are those of a plain call: the second run sees the weights and the random state that
    the first one saw, and the state advances once.

    Args:
        block: The block, built.
        x: Float tensor `(batch, time, width)`.
        attention_mask: As for `CausalSelfAttention`.

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
    return keras.remat(run)(x, *map(ops.copy, trained))
