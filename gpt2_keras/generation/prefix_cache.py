"""Prefix caching: the keys and values of a prefix of many prompts, computed once."""

import dataclasses

import numpy as np

from gpt2_keras.generation import decoding_loop
from gpt2_keras.generation.compiled import compiled
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.special_tokens import SpecialTokens
from gpt2_keras.validation import check_text


@dataclasses.dataclass(frozen=True, eq=False)
class PrefixCache:
    """A prefix with its keys and values, to generate from it many times.

    Args:
        text: The text.
        token_ids: Its tokens.
        tensors: The model's cache of them, and the tokens.
    """

    text: str
    token_ids: list[int]
    tensors: decoding_loop.Prefix


def cache_prefix(
    model: GPT2Model, text: str, *, special_tokens: SpecialTokens | None = None
) -> PrefixCache:
    """Computes the cache of a prefix, for many calls of `generate(prompts, prefix_cache=…)`.

    Prefix and prompt are tokenized apart, so end the prefix where a word ends: a word that
    begins in one and ends in the other gets other tokens than as a whole.

    Args:
        model: A model with a tokenizer. Its weights must not change afterwards.
        text: The text; at least one token, and fewer than `context_length`.
        special_tokens: The special tokens in the text that become their ids; by default the
            tokenizer's policy.

    Returns:
        The prefix and its cache.

    Raises:
        TypeError: If the text is not a `str`.
        ValueError: If it is empty or too long.
    """
    check_text("text", text)
    tokenizer = model.require_tokenizer().with_special_tokens_policy(special_tokens)
    token_ids = tokenizer.encode(text)
    if not 1 <= len(token_ids) < model.config.context_length:
        raise ValueError(
            f"The prefix has {len(token_ids)} tokens. It must have at least 1, and fewer than "
            f"context_length={model.config.context_length}. "
            "Leave an empty prefix out; shorten a long one."
        )
    array = np.array([token_ids], "int32")
    return PrefixCache(
        text, token_ids, decoding_loop.Prefix(compiled(model).prefill(array), array[0])
    )


def no_prefix(model: GPT2Model) -> decoding_loop.Prefix:
    """Returns an empty prefix."""
    return decoding_loop.Prefix(model.make_cache(1, 0), np.zeros(0, "int32"))
