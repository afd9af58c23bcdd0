"""Prefix caching: the keys and values of a prefix of many prompts, computed once."""

import dataclasses
import itertools
from collections.abc import Sequence

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
    return PrefixCache(text, token_ids, extended(model, no_prefix(model), token_ids))


def reuse_prefix(
    model: GPT2Model, cached: PrefixCache | None, token_ids: Sequence[int], text: str = ""
) -> PrefixCache:
    """Computes the cache of ids, of which those of an earlier cache are not computed again.

    Args:
        model: A model. Its weights must be those of the earlier cache.
        cached: A cache whose first ids may be the same, or None.
        token_ids: The ids; at least one, and fewer than `context_length`.
        text: Their text.
    """
    prefix, ids = no_prefix(model), list(token_ids)
    if cached is not None:
        pairs = zip(cached.token_ids, ids, strict=False)
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        if same == len(ids) == len(cached.token_ids):
            return cached
        prefix = _shortened(cached.tensors, min(same, len(ids) - 1))
    return PrefixCache(text, ids, extended(model, prefix, ids[len(prefix.token_ids) :]))


def extended(
    model: GPT2Model, prefix: decoding_loop.Prefix, token_ids: Sequence[int]
) -> decoding_loop.Prefix:
    """Returns a prefix with ids after it, at least one."""
    array = np.array([list(token_ids)], "int32")
    cache = compiled(model).prefill(array, prefix)
    return decoding_loop.Prefix(cache, np.concatenate([np.asarray(prefix.token_ids), array[0]]))


def _shortened(prefix: decoding_loop.Prefix, length: int) -> decoding_loop.Prefix:
    """Returns the beginning of a prefix."""
    cache = [tuple(part[:, :, :length] for part in pair) for pair in prefix.cache]
    return decoding_loop.Prefix(cache, np.asarray(prefix.token_ids)[:length])


def no_prefix(model: GPT2Model) -> decoding_loop.Prefix:
    """Returns an empty prefix."""
    return decoding_loop.Prefix(model.make_cache(1, 0), np.zeros(0, "int32"))
