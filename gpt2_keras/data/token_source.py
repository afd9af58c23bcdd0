"""Sources of tokens: anything with a length and slices of token ids, parts of it included."""

from collections.abc import Sized
from typing import Any, Protocol

import numpy as np

from gpt2_keras.validation import check_number


class TokenSource(Protocol):
    """A sequence of token ids: a 1-D array, or something on disk that is sliced like one."""

    def __len__(self) -> int:
        """Returns the number of token ids."""
        ...

    def __getitem__(self, key: slice, /) -> Any:
        """Returns the token ids of a slice as an integer array."""
        ...


def check_tokens(tokens: TokenSource) -> None:
    """Checks that `tokens` can be read as a `TokenSource`.

    Raises:
        TypeError: If it is an array that is not 1-D or not of integers, or neither an array nor
            an object with a length and slices.
    """
    advice = "Use token shards, or a 1-D array of integers, as np.array(tokenizer.encode(text))."
    if isinstance(tokens, np.ndarray):
        if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
            found = f"an array of shape {tokens.shape} and dtype {tokens.dtype}"
            raise TypeError(f"tokens is {found}. {advice}")
    elif isinstance(tokens, str | bytes | list | tuple | dict | set) or not (
        isinstance(tokens, Sized) and hasattr(tokens, "__getitem__")
    ):
        raise TypeError(f"tokens={tokens!r:.80} is no source of tokens. {advice}")


class TokenView:
    """A part of a token source, which is itself one.

    Args:
        tokens: The source.
        start: Position of the first token.
        stop: Position after the last token.
    """

    def __init__(self, tokens: TokenSource, start: int, stop: int) -> None:
        self._tokens, self._start, self._stop = tokens, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, key: slice) -> Any:
        start, stop = slice_bounds(key, len(self))
        return self._tokens[self._start + start : self._start + stop]

    def __repr__(self) -> str:
        return f"TokenView({self._tokens!r}, {self._start}, {self._stop})"


def split_tokens(
    tokens: TokenSource, validation_fraction: float
) -> tuple[TokenSource, TokenSource]:
    """Splits tokens into a first part for training and a last part for validation.

    Args:
        tokens: Token ids.
        validation_fraction: Fraction of the tokens in the last part, above 0 and below 1.

    Returns:
        The two parts, views that copy nothing. The first has
        `int(n * (1 - validation_fraction))` tokens, as in nanoGPT.

    Raises:
        TypeError: If the fraction is not a number.
        ValueError: If the fraction is out of range or leaves a part empty.

    Example:
        >>> train, validation = split_tokens(np.arange(10), 0.1)
        >>> len(train), validation[:]
        (9, array([9]))
    """
    count = len(tokens)
    check_number("validation_fraction", validation_fraction, above=0, below=1)
    middle = int(count * (1 - validation_fraction))
    if not 0 < middle < count:
        raise ValueError(
            f"validation_fraction={validation_fraction} of {count} tokens leaves a part empty. "
            "Use, for example, 0.1 and a longer text."
        )
    return TokenView(tokens, 0, middle), TokenView(tokens, middle, count)


def slice_bounds(key: slice, length: int) -> tuple[int, int]:
    """Returns the start and the stop of a slice, the stop not before the start.

    Raises:
        TypeError: If it is not a slice, or has a step.
    """
    if not isinstance(key, slice) or key.step not in (None, 1):
        raise TypeError(f"tokens[{key!r}] is not a slice without a step. Use tokens[start:stop].")
    start, stop, _ = key.indices(length)
    return start, max(start, stop)
