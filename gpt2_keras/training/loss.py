"""What training minimises."""

import keras

# A target that is no token: padding, or a part of the text that is not to be learned.
# The value is that of PyTorch's CrossEntropyLoss(ignore_index), which datasets are made for.
IGNORED_TARGET = -100


def make_loss() -> keras.losses.Loss:
    """Returns the cross entropy of the next token, in nats a token.

    Targets equal to `IGNORED_TARGET` count for nothing: the loss is the mean over
    the other tokens of the batch, and no gradient comes from the ignored ones.

    Returns:
        A Keras loss on targets, int `(batch, time)`, and logits, float
        `(batch, time, vocab)`. Keras' own class, so a saved model needs nothing
        else to load it.

    Example:
        >>> logits = np.zeros((1, 2, 4), "float32")
        >>> float(make_loss()(np.array([[3, IGNORED_TARGET]]), logits))  # log 4
        1.386...
    """
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=IGNORED_TARGET, name="cross_entropy"
    )
