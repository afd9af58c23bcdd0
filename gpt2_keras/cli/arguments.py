"""Command-line flags, and types of their values, checked where they are parsed."""

import argparse
import math
import os
from collections.abc import Callable
from typing import Any, Protocol

from gpt2_keras.devices import KINDS

INPUT_FLAGS = (
    (
        "--input-format",
        None,
        ("text", "jsonl", "csv", "parquet"),  # gpt2_keras.data.corpus_files.INPUT_FORMATS
        "of every file (default: by the ending of its name)",
    ),
    ("--text-field", "NAME", str, "the field of a row that has its text"),
)
SPECIAL_TOKENS = (
    "--special-tokens",
    None,
    ("added", "none", "all"),  # gpt2_keras.tokenizer.special_tokens.POLICIES
    "those in a text that become their id; none for text from outside (default: the "
    "tokenizer's, which is added: all but the end token)",
)
DEVICE = ("--device", None, KINDS, "to compute on (default: a GPU if there is one)")
# The names of the applications: gpt2_keras.applications.task_rows.TRAINED_TASKS.
APPLICATIONS = ("summarize", "translate", "answer", "classify", "chat")
MODEL: dict[str, Any] = {"required": True, "metavar": "DIR", "help": "model or run directory"}


class TakesFlags(Protocol):
    """A parser, or a group of one: `argparse` names no public class for both."""

    def add_argument(self, *names: str, **how: Any) -> argparse.Action:
        """Adds a flag."""


def add_flags(parser: TakesFlags, *flags: tuple[Any, ...]) -> None:
    """Adds optional flags.

    Args:
        parser: A parser, or a group of one.
        *flags: For each its name, its metavar, the type of its value (or a tuple of choices,
            `bool` of a switch, `bool` and choices of a switch that may have a value, a list
            of one type if it may be repeated), its help and its default: by default None, of
            a switch False.
    """
    for name, metavar, values, text, *default in flags:
        how: dict[str, Any] = {"type": values, "metavar": metavar}
        if values is bool:
            how = {"action": "store_true"}
        elif isinstance(values, list):
            how = {"action": "append", "type": values[0], "metavar": metavar}
        elif isinstance(values, tuple) and values[0] is bool:
            how = {"nargs": "?", "const": True, "default": False, "choices": values[1:]}
        elif isinstance(values, tuple):
            how = {"choices": values}
        if default:
            how["default"] = default[0]
        parser.add_argument(name, help=text, **how)


def text(argument: str) -> str:
    """Reads an argument as UTF-8, whatever the locale; bytes that are not become U+FFFD."""
    return os.fsencode(argument).decode("utf-8", errors="replace")


def integer(minimum: int | None = None) -> Callable[[str], int]:
    """Returns a parser of integers of at least `minimum`."""
    rule = "an integer" if minimum is None else f"an integer of at least {minimum}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {rule}, got {text!r}") from None
        if minimum is not None and value < minimum:
            raise argparse.ArgumentTypeError(f"expected {rule}, got {value}")
        return value

    return parse


def layers(argument: str) -> int | tuple[int, ...]:
    """Reads a number of layers, `6`, or a list of them, `0,2,4` or `5,`."""
    rule = "a number of layers, such as 6, or a list of them, such as 0,2,4"
    words = argument.removesuffix(",").split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f"expected {rule}, got {argument!r}")
    numbers = tuple(map(int, words))
    return numbers if "," in argument else numbers[0]


def number(
    minimum: float = -math.inf,
    maximum: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> Callable[[str], float]:
    """Returns a parser of finite numbers in a range.

    Args:
        minimum: Smallest value.
        maximum: Largest value.
        above: Whether the value must be larger than `minimum`, not equal to it.
        below: Whether the value must be smaller than `maximum`, not equal to it.
    """
    bounds = []
    if minimum > -math.inf:
        bounds.append(f"{'above' if above else 'of at least'} {minimum:g}")
    if maximum < math.inf:
        bounds.append(f"{'below' if below else 'at most'} {maximum:g}")
    rule = " ".join(["a number", " and ".join(bounds)]).strip()

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {rule}, got {text!r}") from None
        low = value > minimum if above else value >= minimum
        high = value < maximum if below else value <= maximum
        if not (math.isfinite(value) and low and high):
            raise argparse.ArgumentTypeError(f"expected {rule}, got {text}")
        return value

    return parse


# At the end, as they are made of the functions above.
SAMPLING = (
    ("--temperature", "T", number(0), "0 takes the most likely token"),
    ("--top-k", "K", integer(0), "sample from the K most likely; 0 means all"),
    (
        "--top-p",
        "P",
        number(0, 1, above=True),
        "sample from the fewest tokens with a total probability of P",
    ),
)
SEED = ("--seed", "N", integer(), "makes sampling repeatable")
