"""Weights that training leaves as they are."""

from gpt2_keras.model import GPT2Model


def freeze(model: GPT2Model, num_blocks: int | None = None) -> None:
    """Freezes the embeddings and the first blocks of a model.

    The token embeddings are also the output projection: frozen, both stay. Call
    `compile()` afterwards, which gives the optimizer the weights that are left.

    Args:
        model: The model.
        num_blocks: How many blocks, from the first on; by default all, so that
            the final norm is what is left.

    Raises:
        ValueError: If the model has fewer blocks.

    Example:
        >>> model = GPT2LM(GPT2Config(vocab_size=9, context_length=4, num_layers=2,
        ...                           num_heads=1, hidden_dim=4))
        >>> freeze(model, num_blocks=1)
        >>> len(model.trainable_variables)  # of the second block, and the final norm
        14
    """
    blocks = model.decoder.blocks
    if num_blocks is not None and not 0 <= num_blocks <= len(blocks):
        raise ValueError(
            "`num_blocks` must be at least 0 and at most the number of blocks. "
            f"Received: num_blocks={num_blocks}, a model of {len(blocks)}. "
            f"Use, for example, {len(blocks) // 2}."
        )
    frozen = [model.token_embedding, model.position_embedding, *blocks[:num_blocks]]
    for variable in (variable for layer in frozen for variable in layer.weights):
        variable.trainable = False


def unfreeze(model: GPT2Model) -> None:
    """Lets training change every weight again; call `compile()` afterwards."""
    learned = model.config.position_embedding == "learned"
    for variable in model.weights:
        variable.trainable = learned or variable is not model.position_embedding.embeddings
