"""Checks of arguments, which every public call uses.

A wrong type is a `TypeError`, a wrong value a `ValueError`. A message says what was received and
what is wrong with it, then the rule; `advice` ends it with what to do. A bool is neither an
integer nor a number, and NaN and infinity are in no range. NumPy's numbers are accepted. Each
check returns the value as Python's own type.
"""

import math
import numbers
import os
from collections.abc import Collection, Iterable, Mapping, Set
from typing import Any

MAX_INT32 = 2**31 - 1  # the largest token id and the largest number of tokens in a graph


def check_integer(
    name: str,
    value: object,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    advice: str = "",
) -> int:
    """Returns an integer in the range `[minimum, maximum]`.

    Args:
        name: The name of the argument, for the message.
        value: The argument.
        minimum, maximum: The smallest and the largest integer allowed; None for no limit.
        advice: What to do, at the end of the message.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is out of the range.

    Example:
        >>> check_integer("top_k", 0, minimum=1)
        Traceback (most recent call last):
        ...
        ValueError: top_k=0 is less than 1. Use an integer of at least 1.
    """
    if maximum is None:
        rule = "an integer" if minimum is None else f"an integer of at least {minimum}"
    else:
        low = "up to" if minimum is None else f"from {minimum} to"
        rule = f"an integer {low} {maximum}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise _wrong_type(name, value, rule, advice)
    number = int(value)
    if minimum is not None and number < minimum:
        raise _wrong_value(name, number, f"is less than {minimum}", rule, advice)
    if maximum is not None and number > maximum:
        raise _wrong_value(name, number, f"is greater than {maximum}", rule, advice)
    return number


def check_number(
    name: str,
    value: object,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    advice: str = "",
) -> float:
    """Returns a finite number in a range.

    Args:
        name, value, advice: As for `check_integer`.
        minimum, maximum: Inclusive limits.
        above, below: Exclusive limits.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is NaN, infinite or out of the range.

    Example:
        >>> check_number("top_p", 0.0, above=0, maximum=1)
        Traceback (most recent call last):
        ...
        ValueError: top_p=0.0 is not above 0. Use a number above 0 and at most 1.
    """
    limits = (
        (minimum, "at least", lambda x, limit: x >= limit),
        (above, "above", lambda x, limit: x > limit),
        (maximum, "at most", lambda x, limit: x <= limit),
        (below, "below", lambda x, limit: x < limit),
    )
    words = [f"{word} {limit:g}" for limit, word, _ in limits if limit is not None]
    rule = " ".join(["a number", " and ".join(words)]) if words else "a finite number"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise _wrong_type(name, value, rule, advice)
    number = int(value) if isinstance(value, numbers.Integral) else float(value)
    if isinstance(number, float) and not math.isfinite(number):
        raise _wrong_value(name, value, "is not finite", rule, advice)
    for limit, word, holds in limits:
        if limit is not None and not holds(number, limit):
            raise _wrong_value(name, number, f"is not {word} {limit:g}", rule, advice)
    return number


def check_probability(name: str, value: object, *, advice: str = "") -> float:
    """Returns a probability, a number from 0 to 1; raises as `check_number` does."""
    return check_number(name, value, minimum=0, maximum=1, advice=advice)


def check_flag(name: str, value: object, *, advice: str = "") -> bool:
    """Returns a bool; anything else is a TypeError."""
    if not isinstance(value, bool):
        raise _wrong_type(name, value, "True or False", advice)
    return value


def check_text(name: str, value: object, *, advice: str = "") -> str:
    """Returns a `str`; anything else is a TypeError."""
    if not isinstance(value, str):
        raise _wrong_type(name, value, "a str", advice or _text_advice(value))
    return value


def check_texts(name: str, value: object, *, advice: str = "") -> list[str]:
    """Returns one `str` or several as a list.

    Raises:
        TypeError: If it is neither; names the entry that is not a `str`.
        ValueError: If there is none.

    Example:
        >>> check_texts("prompts", ["a", 1])
        Traceback (most recent call last):
        ...
        TypeError: prompts[1]=1 is an int. Use a str.
    """
    if isinstance(value, str):
        return [value]
    rule = "a str or a list of them"
    listed = check_list(name, value, rule, advice=advice or _text_advice(value))
    texts = [check_text(f"{name}[{index}]", text) for index, text in enumerate(listed)]
    if not texts:
        raise ValueError(f"{name} is empty. Use at least one str.{_space(advice)}")
    return texts


def check_list(name: str, value: object, what: str, *, advice: str = "") -> Iterable[Any]:
    """Returns a list, or what is read like one; `what` names in words what it is of.

    Raises:
        TypeError: If it is no list, a text, or a dictionary or set, which have no order.

    Example:
        >>> check_list("stop_token_ids", 3, "a list of token ids")
        Traceback (most recent call last):
        ...
        TypeError: stop_token_ids=3 is an int. Use a list of token ids.
    """
    has_no_order = isinstance(value, (str, bytes, Mapping, Set))
    if has_no_order or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        raise _wrong_type(name, value, what, advice)
    return value


def check_path(name: str, value: object, *, advice: str = "") -> str | os.PathLike[str]:
    """Returns a path, `str` or `os.PathLike`; anything else is a TypeError."""
    if not isinstance(value, str | os.PathLike):
        raise _wrong_type(name, value, "a path", advice)
    return value


def check_choice(name: str, value: object, choices: Collection[str], *, advice: str = "") -> str:
    """Returns one of the `choices`.

    Raises:
        TypeError: If it is not a `str`.
        ValueError: If it is none of the choices; lists them.

    Example:
        >>> check_choice("format", "onnx", ["litert", "litertlm"])
        Traceback (most recent call last):
        ...
        ValueError: format='onnx' is unknown. Use one of 'litert', 'litertlm'.
    """
    rule = f"one of {', '.join(map(repr, choices))}"
    if not isinstance(value, str):
        raise _wrong_type(name, value, rule, advice)
    if value not in choices:
        raise ValueError(f"{name}={value!r} is unknown. Use {rule}.{_space(advice)}")
    return value


def check_instance(name: str, value: object, expected: type | tuple[type, ...], what: str) -> None:
    """Raises a TypeError if `value` is no instance of `expected`, which `what` names in words.

    Example:
        >>> check_instance("config", {}, GPT2Config, "a GPT2Config")
        Traceback (most recent call last):
        ...
        TypeError: config={} is a dict. Use a GPT2Config.
    """
    if not isinstance(value, expected):
        raise _wrong_type(name, value, what, "")


def _wrong_type(name: str, value: object, rule: str, advice: str) -> TypeError:
    type_name = type(value).__name__
    found = "is None" if value is None else f"is {_article(type_name)} {type_name}"
    return TypeError(f"{_named(name, value)} {found}. Use {rule}.{_space(advice)}")


def _wrong_value(name: str, value: Any, found: str, rule: str, advice: str) -> ValueError:
    return ValueError(f"{_named(name, value)} {found}. Use {rule}.{_space(advice)}")


def _named(name: str, value: object) -> str:
    """Returns `name=value` with a long value shortened, or the name alone of None."""
    if value is None:
        return name
    shown = repr(value)
    return f"{name}={shown if len(shown) <= 80 else shown[:77] + '...'}"


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"


def _space(advice: str) -> str:
    return f" {advice}" if advice else ""


def _text_advice(value: object) -> str:
    return "Decode bytes first." if isinstance(value, bytes) else ""
