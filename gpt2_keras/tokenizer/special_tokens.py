"""Which special tokens in a text become their id, and which stay text: one policy for all paths."""

import re
from collections.abc import Collection
from typing import Literal

from gpt2_keras.validation import check_instance

POLICIES = ("added", "none", "all")
SpecialTokens = Literal["added", "none", "all"] | Collection[str]


def check_allowed_special(
    allowed_special: SpecialTokens,
    special_tokens: Collection[str],
    end_token: str | None = None,
    name: str = "allowed_special",
) -> tuple[str, ...]:
    """Returns the special tokens whose text becomes their id.

    Args:
        allowed_special: `"added"`: all but the end token, which in a user's text is
            text; `"none"`; `"all"`; or the texts of special tokens.
        special_tokens: The special tokens of the vocabulary.
        end_token: The one that ends a document; without it there is no `"added"`.
        name: The name of the argument in an error.

    Raises:
        TypeError: If `allowed_special` is no collection.
        ValueError: If it is another string, or has one that is no special token.

    Example:
        >>> tokens = {"<|endoftext|>": 50256, "<|user|>": 50257}
        >>> check_allowed_special("added", tokens, "<|endoftext|>")
        ('<|user|>',)
        >>> check_allowed_special("none", tokens), check_allowed_special(["<|user|>"], tokens)
        ((), ('<|user|>',))
    """
    if allowed_special == "added" and end_token is not None:
        return tuple(token for token in special_tokens if token != end_token)
    if allowed_special == "none":
        return ()
    if allowed_special == "all":
        return tuple(special_tokens)
    words = "'none', 'all'" if end_token is None else "'added', 'none', 'all'"
    rule = f"{words}, or a list of special tokens; there are {list(special_tokens)}"
    check_instance(name, allowed_special, Collection, rule)
    if isinstance(allowed_special, str):  # would be read as its letters
        raise ValueError(f"{name}={allowed_special!r} is one str. Use {rule}.")
    if getattr(allowed_special, "ndim", 1) == 0:  # an array that is one number has no entries
        raise TypeError(f"{name}={allowed_special!r} is one number. Use {rule}.")
    for token in allowed_special:
        if not isinstance(token, str) or token not in special_tokens:
            raise ValueError(f"{name} has {token!r}, no special token. Use {rule}.")
    return tuple(allowed_special)


def special_token_pattern(tokens: Collection[str]) -> re.Pattern[str]:
    """Returns the pattern that finds special tokens, of several that begin at once the longest.

    Example:
        >>> special_token_pattern(["<a>"]).split("x<a>y")
        ['x', '<a>', 'y']
    """
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
