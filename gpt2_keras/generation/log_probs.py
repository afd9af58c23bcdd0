"""Log-probabilities of tokens, inside the graph."""

from typing import Any

import tensorflow as tf

from gpt2_keras.model import GPT2Model


def log_probs(model: GPT2Model, token_ids: Any, num_tokens: Any, *, end_token_id: int) -> tf.Tensor:
    """Computes the log-probability of every token, given those before it.

    The first is given the end token, which in GPT-2's training text stands
    before every document.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, padded on the right.
        num_tokens: Int32 tensor `(batch,)`: how many of each row are real.
        end_token_id: The id of the end token.

    Returns:
        Float32 tensor `(batch, time)`, in nats; 0 for padding.
    """
    time = tf.shape(token_ids)[1]
    real = tf.sequence_mask(num_tokens, time)  # (batch, time)
    token_ids = tf.where(real, token_ids, end_token_id)
    before = tf.concat([tf.fill([tf.shape(token_ids)[0], 1], end_token_id), token_ids], axis=1)
    logits = model(before[:, :-1], padding_mask=real, training=False)  # (batch, time, vocab)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=token_ids, logits=logits)
    return tf.where(real, -losses, 0.0)


def next_tokens(
    model: GPT2Model, token_ids: Any, num_tokens: Any, k: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the `k` likeliest next tokens.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, each text at the right end of
            its row.
        num_tokens: Int32 tensor `(batch,)`: each text's length, at least 1.
        k: Int32 scalar, at most `vocab_size`.

    Returns:
        Ids, int32 `(batch, k)`, the likeliest first, and their probabilities,
        float32 `(batch, k)`.
    """
    time = tf.shape(token_ids)[1]
    real = tf.expand_dims(tf.range(time), 0) >= tf.expand_dims(time - num_tokens, 1)
    logits = model(token_ids, padding_mask=real, num_logits=1, training=False)
    probabilities, ids = tf.math.top_k(tf.nn.softmax(logits[:, 0]), k)
    return ids, probabilities
