"""Freezing: excludes weights from training."""

from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_integer


def freeze(model: GPT2Model, num_blocks: int | None = None) -> None:
    """Freezes the embeddings and the first blocks of a model.

    The token embeddings are also the output projection, so both are frozen. Call
    `compile()` afterwards, which gives the optimizer the weights that are not frozen.

    Args:
        model: The model.
        num_blocks: Number of blocks to freeze, from the first on; by default all, so
            that only the final norm is trained.

    Raises:
        TypeError: If `num_blocks` is not an integer.
        ValueError: If the model has fewer blocks.

    Example:
        >>> model = GPT2LM(GPT2Config(vocab_size=9, context_length=4, num_layers=2,
        ...                           num_heads=1, hidden_dim=4))
        >>> freeze(model, num_blocks=1)
        >>> len(model.trainable_variables)  # of the second block, and the final norm
        14
    """
    blocks = model.decoder.blocks
    if num_blocks is not None:
        check_integer("num_blocks", num_blocks, minimum=0, maximum=len(blocks))
    frozen = [model.token_embedding, model.position_embedding, *blocks[:num_blocks]]
    for variable in (variable for layer in frozen for variable in layer.weights):
        variable.trainable = False


def unfreeze(model: GPT2Model) -> None:
    """Makes every weight trainable again; call `compile()` afterwards."""
    learned = model.config.position_embedding == "learned"
    for variable in model.weights:
        variable.trainable = learned or variable is not model.position_embedding.embeddings
