"""Contexts and continuations as the tokens that a model reads and those to score."""

import numpy as np

from gpt2_keras.generation.spans import Span
from gpt2_keras.tokenizer import GPT2Tokenizer

START_TOKENS = ("always", "if empty", "never")


def encode_pair(
    tokenizer: GPT2Tokenizer, context: str, continuation: str, *, together: bool
) -> tuple[list[int], list[int]]:
    """Encodes a context and its continuation.

    Args:
        tokenizer: Encodes the texts.
        context: The text given.
        continuation: The text to score.
        together: Whether the whole text is encoded, and its tokens are split after as many as
            the context has alone, with white space at the end of the context moved to the
            continuation: `TemplateLM._encode_pair` in lm-evaluation-harness
            (lm_eval/api/model.py). If not, each is encoded alone.

    Returns:
        The ids of both.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["ab ab ab"], vocab_size=259)
        >>> [tokenizer.decode(ids) for ids in encode_pair(tokenizer, "a ", "ab", together=True)]
        ['a', ' ab']
        >>> [tokenizer.decode(ids) for ids in encode_pair(tokenizer, "a ", "ab", together=False)]
        ['a ', 'ab']
    """
    if not together:
        given, scored = tokenizer.encode([context, continuation])
        return given, scored
    stripped = context.rstrip()
    whole, given = tokenizer.encode([context + continuation, stripped])
    return given, whole[len(given) :]


def continuation_span(
    source: str, given: list[int], scored: list[int], context_length: int
) -> Span:
    """Returns what a model reads to score a continuation.

    Args:
        source: Where the texts are from, for error messages.
        given: The ids of the context, with a start token if there is one. If there are too
            many, the first ones are left out.
        scored: The ids of the continuation.
        context_length: Largest number of tokens that are read.

    Raises:
        ValueError: If the continuation has no token or too many, or none stands before it.
    """
    if not scored:
        raise ValueError(f"{source} has no token to score. Leave it out.")
    if not given:
        raise ValueError(f"{source} has no token before the scored ones. Give it a context.")
    if len(scored) > context_length:
        raise ValueError(
            f"{source} has {len(scored)} tokens to score, more than context_length="
            f"{context_length}. Leave it out."
        )
    ids = np.array([*given, *scored][-(context_length + 1) :], "int32")
    return Span(ids[:-1], ids[-len(scored) :])


def with_start_token(tokenizer: GPT2Tokenizer, ids: list[int], rule: str) -> list[int]:
    """Returns the ids of a context after the start token, by one of `START_TOKENS`."""
    needed = rule == "always" or (rule == "if empty" and not ids)
    return [tokenizer.end_token_id, *ids] if needed else ids
