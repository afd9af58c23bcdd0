"""What `explore` prints: a line for each token."""

import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from gpt2_keras.cli.table import in_columns

_SHOWN = 3  # candidates of a line
_BUCKETS = (1, 10, 100, 1000)  # of ranks, as the page colours them
_STYLES = ("black on green", "black on yellow", "black on bright_yellow", "black on red")
_LAST_STYLE = "white on magenta"
_SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"}


def token_table(explorations: Sequence[Any]) -> str:
    """Returns a table of a text's tokens: bits, rank and the most likely in their place.

    Args:
        explorations: The text as one model sees it, or several.
    """
    first, others = explorations[0], explorations[1:]
    names = [each.model for each in others]
    head = ["token", "bits", "rank", *(f"bits, {name}" for name in names), "most likely"]
    rows, ranks = [], []
    for index in range(1, len(first.token_ids)):
        bits = [f"{each.bits[index]:.2f}" for each in others]
        cells = [f"{first.bits[index]:.2f}", str(first.ranks[index]), *bits]
        rows.append([visible(first.tokens[index]), *cells, _candidates(first, index - 1)])
        ranks.append(int(first.ranks[index]))
    rows.append(["next?", "", "", *("" for _ in others), _candidates(first, -1)])
    lines = in_columns([head, *rows], right=range(1, len(head) - 1)).split("\n")
    if not _has_colours():
        return "\n".join(lines)
    width = max(len(row[0]) for row in [head, *rows])
    return _coloured(lines, ranks, width)


def attribution_table(attribution: Any, exploration: Any) -> str:
    """Returns a table of what each token adds to a prediction."""
    target = visible(exploration.token_text(attribution.target))
    why = f"why {target}"
    if attribution.foil is not None:
        why += f" and not {visible(exploration.token_text(attribution.foil))}"
    rows = [["token", why]]
    pairs = zip(attribution.tokens, attribution.values.tolist(), strict=True)
    rows += [[visible(token), f"{value:+.4f}"] for token, value in pairs]
    note = f"{attribution.method}, of a score of {attribution.score:.4f}"
    return in_columns(rows, right=[1]) + f"\n{note}"


def visible(token: str) -> str:
    """Returns a token with its spaces, line ends and control characters made visible.

    Example:
        >>> visible(" the\\x1b\\n")
        '␣the⟨001b⟩↵'
    """
    return "".join(
        _SIGNS.get(each, each if each.isprintable() else f"⟨{ord(each):04x}⟩") for each in token
    )


def _candidates(exploration: Any, position: int) -> str:
    """Returns the most likely tokens after a position, with their probabilities."""
    pairs = zip(
        exploration.candidate_ids[position, :_SHOWN].tolist(),
        exploration.candidate_probs[position, :_SHOWN].tolist(),
        strict=True,
    )
    return "  ".join(
        f"{visible(exploration.token_text(token))} {probability:.1%}"
        for token, probability in pairs
    )


def _has_colours() -> bool:
    """Returns whether the output is a terminal that wants colours; see no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _coloured(lines: Sequence[str], ranks: Sequence[int], width: int) -> str:
    """Returns the lines with each token in the colour of its rank."""
    from rich.console import Console
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=True, width=sum(map(len, lines)) + 1)
    for line, rank in zip(lines, [None, *ranks, None], strict=True):
        shown = Text(line)
        if rank is not None:
            bucket = sum(rank > limit for limit in _BUCKETS)
            style = _STYLES[bucket] if bucket < len(_STYLES) else _LAST_STYLE
            shown.stylize(style, 0, min(width, len(line)))
        console.print(shown, soft_wrap=True)
    return buffer.getvalue().rstrip("\n")
