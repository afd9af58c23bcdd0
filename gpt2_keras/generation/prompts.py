"""Prompts encoded and checked for the decoding loop."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.special_tokens import SpecialTokens
from gpt2_keras.validation import (
    check_instance,
    check_integer,
    check_list,
    check_text,
    check_texts,
)

DEFAULT_MAX_NEW_TOKENS = 64
ON_OVERFLOW = ("error", "truncate", "sliding_window")


@dataclasses.dataclass(frozen=True)
class EncodedPrompt:
    """A prompt whose tokens the caller has chosen: cropped, joined, or of special tokens.

    Args:
        token_ids: Its ids, at least one.
        text: Its text, which `generate` returns before the new text.

    Raises:
        TypeError: If an id is no integer, or the text no `str`.
        ValueError: If there is no id.

    Example:
        >>> EncodedPrompt((7, 8), "ab").token_ids
        (7, 8)
    """

    token_ids: tuple[int, ...]
    text: str = ""

    def __post_init__(self) -> None:
        check_text("text", self.text)
        ids = check_list("token_ids", self.token_ids, "a list of token ids")
        checked = tuple(check_integer("a token id", each, minimum=0) for each in ids)
        if not checked:
            raise ValueError("token_ids=() is empty. An empty prompt is the end token's id.")
        object.__setattr__(self, "token_ids", checked)


Prompt = str | EncodedPrompt


def check_prompts(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """Returns one prompt or several as a list; raises as `check_texts` does."""
    if isinstance(prompts, EncodedPrompt):
        return [prompts]
    if isinstance(prompts, list | tuple) and any(isinstance(p, EncodedPrompt) for p in prompts):
        for index, prompt in enumerate(prompts):
            rule = "a str or an EncodedPrompt"
            check_instance(f"prompts[{index}]", prompt, (str, EncodedPrompt), rule)
        return list(prompts)
    return list(check_texts("prompts", prompts))


def prompt_text(prompt: Prompt) -> str:
    """Returns the text of a prompt."""
    return prompt if isinstance(prompt, str) else prompt.text


def default_max_new_tokens(model: GPT2Model) -> int:
    """Returns the generation config's number of new tokens, or 64; at most half the context."""
    configured = model.generation_config.contents.get("max_new_tokens")
    return max(1, min(configured or DEFAULT_MAX_NEW_TOKENS, model.config.context_length // 2))


def encode_prompts(
    model: GPT2Model,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    on_overflow: str = "error",
    prefix_length: int = 0,
    special_tokens: SpecialTokens | None = None,
) -> list[list[int]]:
    """Encodes prompts and checks that prompt and new tokens fit the context.

    Args:
        model: A model with a tokenizer.
        prompts: The texts, or their tokens. An empty text becomes the end token, which stands
            before every document of GPT-2's training text.
        max_new_tokens: Number of new tokens.
        on_overflow: What to do with a prompt that is too long: `"error"`, `"truncate"` its
            beginning, or `"sliding_window"`: only one new token must fit at a time, and a
            longer prompt loses its beginning.
        prefix_length: Number of tokens of the prefix of every prompt.
        special_tokens: The special tokens in the prompts that become their ids.

    Returns:
        Each prompt's ids, at least one.

    Raises:
        ValueError: If a prompt does not fit, or could not even if truncated.
    """
    tokenizer = model.require_tokenizer().with_special_tokens_policy(special_tokens)
    context = model.config.context_length
    slides = on_overflow == "sliding_window"
    room = context - prefix_length - (1 if slides else max_new_tokens)
    if room < 1:
        raise ValueError(
            f"max_new_tokens={max_new_tokens} after a prefix of {prefix_length} tokens leave no "
            f"room for a prompt in context_length={context}. Use at most "
            f"{context - prefix_length - 1}, or on_overflow='sliding_window'."
        )
    rows = []
    for index, prompt in enumerate(prompts):
        if isinstance(prompt, EncodedPrompt):
            ids = list(prompt.token_ids)
            model.check_token_ids(ids)
        else:
            ids = tokenizer.encode(prompt) or [tokenizer.end_token_id]
        if len(ids) > room and on_overflow == "error":
            raise ValueError(
                f"prompts[{index}] has {len(ids)} tokens: with max_new_tokens={max_new_tokens} "
                f"more than context_length={context}. Shorten it, ask for fewer new tokens, or "
                "set on_overflow='truncate' to drop its beginning."
            )
        rows.append(ids[-room:])
    return rows


def check_fits(model: GPT2Model, token_ids: np.ndarray, max_new_tokens: int) -> None:
    """Raises an error unless `max_new_tokens` fit after every prompt, `(batch, time)`."""
    check_integer("max_new_tokens", max_new_tokens, minimum=1)
    context, time = model.config.context_length, token_ids.shape[1]
    if time + max_new_tokens > context:
        raise ValueError(
            f"A prompt of {time} tokens and max_new_tokens={max_new_tokens} are more than "
            f"context_length={context}. Shorten the prompt, or ask for fewer new tokens."
        )
