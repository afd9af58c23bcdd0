"""Texts and single tokens, as what is computed here takes them: ids, with a start token."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.special_tokens import SpecialTokens
from gpt2_keras.understanding.recording import as_rows


def ids_of(
    model: GPT2Model,
    text: str | Sequence[int],
    *,
    start_token: bool | None = None,
    special_tokens: SpecialTokens | None = None,
    name: str = "text",
) -> tuple[np.ndarray, bool]:
    """Returns the ids of a text that a model is asked about.

    Args:
        model: The model.
        text: The text, or its ids, which are taken as they are.
        start_token: Whether `<|endoftext|>` stands before a text, as before every document of
            GPT-2's training text. By default if there is room for it.
        special_tokens: The special tokens in the text that become their ids; by default the
            tokenizer's policy.
        name: What messages call it.

    Returns:
        Int32 array `(time,)`, and whether it begins with a start token that is not in the text.

    Raises:
        TypeError: If it is neither a text nor ids.
        ValueError: If it is empty or longer than the context, or the model has no tokenizer and
            a text was given.
    """
    if not isinstance(text, str):
        return as_rows(model, text)[0], False
    tokenizer = model.require_tokenizer().with_special_tokens_policy(special_tokens)
    ids, context = tokenizer.encode(text), model.config.context_length
    if not ids:
        raise ValueError(
            f"{name}={text!r} has no token. There is nothing to look into. Give a text, or the "
            "ids [tokenizer.end_token_id] for the beginning of one."
        )
    if start_token is None:
        start_token = len(ids) < context
    if start_token:
        ids = [tokenizer.end_token_id, *ids]
    if len(ids) > context:
        what = "with the start token " if start_token else ""
        advice = " Use start_token=False, or a shorter text." if start_token else " Shorten it."
        raise ValueError(
            f"{name} has {len(ids)} tokens {what}and context_length={context}. A model reads no "
            f"more than its context at once.{advice}"
        )
    return np.array(ids, "int32"), start_token


def token_of(model: GPT2Model, token: str | int, name: str) -> int:
    """Returns the id of a single token.

    Args:
        model: The model.
        token: Its text, or its id.
        name: What messages call it.

    Raises:
        TypeError: If it is neither.
        ValueError: If the text is no token or several, or the id is not in the vocabulary.
    """
    if isinstance(token, (int, np.integer)) and not isinstance(token, bool):
        size = model.config.vocab_size
        if not 0 <= token < size:
            raise ValueError(
                f"{name}={token} is not in the vocabulary. Ids are at least 0 and below "
                f"vocab_size={size}. Use one of them, or the token's text."
            )
        return int(token)
    if not isinstance(token, str):
        raise TypeError(
            f"{name}={token!r} is of the type {type(token).__name__}. Use a token's text or id."
        )
    tokenizer = model.require_tokenizer()
    special = tokenizer.special_tokens
    ids = [special[token]] if token in special else tokenizer.encode(token)
    if len(ids) != 1:
        found = [tokenizer.decode([each]) for each in ids]
        raise ValueError(
            f"{name}={token!r} is {len(ids)} tokens{f', {found}' if ids else ''}. It must be "
            f"one. {_advice(model, token, ids)}"
        )
    return int(ids[0])


def _advice(model: GPT2Model, token: str, ids: list[int]) -> str:
    """Returns what to give instead of a text that is not one token."""
    tokenizer = model.require_tokenizer()
    if token and not token.startswith(" ") and len(tokenizer.encode(f" {token}")) == 1:
        return f"With a space before it, {' ' + token!r}, it is one."
    if ids:
        return f"Use its first, {tokenizer.decode(ids[:1])!r}."
    return "Use a token's text, such as ' the', or its id."


def vocabulary_of(model: GPT2Model, token_ids: Iterable[int]) -> dict[int, bytes]:
    """Returns the bytes of tokens by id; of a model without tokenizer none."""
    if model.tokenizer is None:
        return {}
    return {token: model.tokenizer.decode_bytes([token]) for token in sorted(set(token_ids))}


def tokens_of(model: GPT2Model, token_ids: Any) -> tuple[list[str], list[bytes]]:
    """Returns the text and the bytes of each token; of a model without tokenizer its id.

    Bytes that are no character appear as U+FFFD in the text.
    """
    ids = [int(each) for each in token_ids]
    if model.tokenizer is None:
        return [f"[{each}]" for each in ids], [b""] * len(ids)
    return [model.tokenizer.decode([each]) for each in ids], [
        model.tokenizer.decode_bytes([each]) for each in ids
    ]
