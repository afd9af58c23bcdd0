"""What a setting may be."""

from collections.abc import Sequence
from typing import Any


def text(name: str, value: object) -> None:
    """Refuses what is not a string."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string. Received: {name}={value!r}. Use str(path).")


def texts(name: str, value: object) -> None:
    """Refuses what is not a tuple of strings."""
    if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError(
            f"`{name}` must be several strings. Received: {name}={value!r}. "
            'Use, for example, ("Once upon a time",).'
        )


def flag(name: str, value: object) -> None:
    """Refuses what is neither True nor False."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be a bool. Received: {name}={value!r}. Use True or False.")


def choice(names: Sequence[str], advice: str) -> Any:
    """Returns a rule: one of some names."""

    def check(name: str, value: object) -> None:
        if value not in names:
            raise ValueError(
                f"`{name}` must be one of {', '.join(names)}. Received: {name}={value!r}. {advice}"
            )

    return check


def count(minimum: int) -> Any:
    """Returns a rule: an integer of at least `minimum`."""

    def check(name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(
                f"`{name}` must be an integer. Received: {name}={value!r}. Use {minimum} or more."
            )
        if value < minimum:
            raise ValueError(
                f"`{name}` must be at least {minimum}. Received: {name}={value}. "
                f"Use {minimum} or more."
            )

    return check


def number(minimum: float, below: float, *, above: bool = False) -> Any:
    """Returns a rule: a number of a range that ends before `below`."""
    rule = f"{'above' if above else 'at least'} {minimum:g} and below {below:g}"

    def check(name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(
                f"`{name}` must be a number. Received: {name}={value!r}. Use one {rule}."
            )
        if not minimum <= value < below or (above and value == minimum):
            raise ValueError(
                f"`{name}` must be {rule}. Received: {name}={value}. Use, for example, "
                f"{min(0.1, below / 2):g}."
            )

    return check
