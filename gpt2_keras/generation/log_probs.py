"""Log-probabilities of given tokens, inside the graph."""

from typing import Any

from gpt2_keras.generation.arrays import Array, xp
from gpt2_keras.generation.padding import left_padding_mask
from gpt2_keras.model import GPT2Model


def token_log_probs(logits: Any, token_ids: Any) -> Array:
    """Returns the log-probability that logits give a token.

    Args:
        logits: Float32 tensor `(batch, time, vocab)`.
        token_ids: Int32 tensor `(batch, time)`.

    Returns:
        Float32 tensor `(batch, time)`, in nats.
    """
    return -xp.cross_entropy(logits, token_ids)


def text_log_probs(
    model: GPT2Model, token_ids: Any, num_tokens: Any, *, end_token_id: int
) -> Array:
    """Computes the log-probability of every token of texts, given those before it.

    The end token stands before the first one, as before every document of GPT-2's training
    text.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, padded on the right.
        num_tokens: Int32 tensor `(batch,)`: the length of each row without padding.
        end_token_id: The id of the end token.

    Returns:
        Float32 tensor `(batch, time)`, in nats; 0 for padding.
    """
    ends = xp.full([xp.shape(token_ids)[0], 1], end_token_id)
    token_ids = xp.concat([ends, token_ids], axis=1)  # (batch, 1 + time)
    return score_tokens(model, token_ids, num_tokens + 1, padding_id=end_token_id)[0]


def score_tokens(
    model: GPT2Model, token_ids: Any, num_tokens: Any, *, padding_id: int
) -> tuple[Array, Array]:
    """Computes the log-probability and rank of every token but the first, given those before it.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, padded on the right; `time` at most
            `context_length + 1`, as the last token is not read.
        num_tokens: Int32 tensor `(batch,)`: the length of each row without padding.
        padding_id: An id of the vocabulary, which is read in place of padding.

    Returns:
        Log-probabilities, float32 `(batch, time - 1)`, in nats; ranks, int32 `(batch, time - 1)`:
        how many tokens of the vocabulary are more likely. Both are 0 for padding.
    """
    real = xp.sequence_mask(num_tokens, xp.shape(token_ids)[1])  # (batch, time)
    token_ids = xp.where(real, token_ids, padding_id)
    targets, real = token_ids[:, 1:], real[:, 1:]  # (batch, time - 1)
    logits = model(token_ids[:, :-1], padding_mask=real, training=False)
    own = xp.gather(logits, xp.expand_dims(targets, 2), batch_dims=2)  # (batch, time - 1, 1)
    ranks = xp.sum(xp.cast(logits > own, "int32"), axis=2)
    return xp.where(real, token_log_probs(logits, targets), 0.0), xp.where(real, ranks, 0)


def continuation_log_probs(model: GPT2Model, token_ids: Any, num_tokens: Any) -> Array:
    """Computes the log-probability of every token but the first, given those before it.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, padded on the left.
        num_tokens: Int32 tensor `(batch,)`: the length of each row without padding.

    Returns:
        Float32 tensor `(batch, time - 1)`, in nats; without meaning for padding.
    """
    time = xp.shape(token_ids)[1]
    mask = left_padding_mask(num_tokens, time)
    logits = model(token_ids, padding_mask=mask, training=False)  # (batch, time, vocab)
    return token_log_probs(logits[:, :-1], token_ids[:, 1:])


def most_likely_next_tokens(
    model: GPT2Model, token_ids: Any, num_tokens: Any, k: Any
) -> tuple[Array, Array]:
    """Finds the `k` most likely next tokens.

    Args:
        model: The model.
        token_ids: Int32 tensor `(batch, time)`, padded on the left.
        num_tokens: Int32 tensor `(batch,)`: the length of each text, at least 1.
        k: Int32 scalar, at most `vocab_size`.

    Returns:
        Ids, int32 `(batch, k)`, the most likely first, and their probabilities, float32
        `(batch, k)`.
    """
    mask = left_padding_mask(num_tokens, xp.shape(token_ids)[1])
    logits = model(token_ids, padding_mask=mask, num_logits=1, training=False)
    probabilities, ids = xp.top_k(xp.softmax(logits[:, 0]), k)
    return ids, probabilities
