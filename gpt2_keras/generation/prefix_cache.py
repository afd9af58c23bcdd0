"""A beginning that many texts share, read once."""

import dataclasses

import numpy as np

from gpt2_keras.generation import decoding_loop as loop
from gpt2_keras.generation.compiled import compiled
from gpt2_keras.model import GPT2Model


@dataclasses.dataclass(frozen=True, eq=False)
class PrefixCache:
    """What a model has read of a text, to continue it many times.

    Args:
        text: The text.
        token_ids: Its tokens.
        tensors: The model's cache of them.
    """

    text: str
    token_ids: list[int]
    tensors: loop.Prefix


def cache_prefix(model: GPT2Model, text: str) -> PrefixCache:
    """Reads a text once, for many calls of `generate(prompts, prefix=…)`.

    Prefix and prompt are tokenized apart, so end the prefix where a word ends: a
    word that begins in one and ends in the other gets other tokens than whole.

    Args:
        model: A model with a tokenizer. Its weights must not change afterwards.
        text: The text; at least one token, and fewer than `context_length`.

    Returns:
        The prefix.

    Raises:
        ValueError: If the text is empty or too long.
    """
    token_ids = model.require_tokenizer().encode(text)
    if not 1 <= len(token_ids) < model.config.context_length:
        raise ValueError(
            "A prefix must have at least one token and fewer than the context. "
            f"Received: {len(token_ids)} tokens, context_length={model.config.context_length}. "
            "Leave an empty prefix out; shorten a long one."
        )
    array = np.array([token_ids], "int32")
    return PrefixCache(text, token_ids, loop.Prefix(compiled(model).read(array), array[0]))


def no_prefix(model: GPT2Model) -> loop.Prefix:
    """Returns the prefix of texts without one."""
    return loop.Prefix(model.make_cache(1, 0), np.zeros(0, "int32"))
