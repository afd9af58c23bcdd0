"""Detokenizers: turn the text of a data set back into ordinary text.

Some corpora are split into words, with spaces around punctuation, and a model of ordinary
text has never seen such text. The model reads the detokenized text, while words and bytes
are counted in the original. Source: "Language Models are
Unsupervised Multitask Learners" (Radford et al., 2019), section 3.1.
"""

import re
from collections.abc import Callable

from gpt2_keras.validation import check_choice, check_text

# The replacements of NVIDIA/Megatron-LM tasks/zeroshot_gpt/detokenizer.py and of
# lm-evaluation-harness for WikiText, in their order, but brackets and quotes only within a
# line: in theirs an odd one swaps all that follow. Theirs for other corpora (" N " to " 1 ")
# are left out.
_WIKITEXT: tuple[tuple[str, str], ...] = (
    (r"s '", "s'"),  # the dogs ' tails
    (r" @([-,.])@ ", r"\1"),  # 1 @,@ 000
    (r" ([:;.!?,]) ", r"\1 "),
    (r"\( *([^)\n]*?) *\)", r"(\1)"),
    (r"\[ *([^]\n]*?) *\]", r"[\1]"),
    (r"\{ *([^}\n]*?) *\}", r"{\1}"),
    (r'" *([^"\n]*?) *"', r'"\1"'),
    (r"' *([^'\n]*?) *'", r"'\1'"),
    (r"= = = =", "===="),
    (r"= = =", "==="),
    (r"= =", "=="),
    (r" ° ", "°"),
    (r" ?\n ?", "\n"),
    (r" 's", "'s"),
)
_REPLACEMENTS = [(re.compile(pattern), text) for pattern, text in _WIKITEXT]


def _none(text: str) -> str:
    return text


def _wikitext(text: str) -> str:
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return text


_DETOKENIZERS: dict[str, Callable[[str], str]] = {"none": _none, "wikitext": _wikitext}


def detokenize(text: str, name: str) -> str:
    """Returns the ordinary text of a text from a data set.

    Args:
        text: The text of the data set.
        name: `"none"`, or `"wikitext"` for WikiText-2 and WikiText-103.

    Raises:
        TypeError: If an argument is not a `str`.
        ValueError: If there is no such detokenizer.

    Example:
        >>> detokenize("It cost 1 @,@ 000 dollars ( or less ) , he said . \\n", "wikitext")
        'It cost 1,000 dollars (or less), he said.\\n'
    """
    return _DETOKENIZERS[check_detokenizer(name)](check_text("text", text))


def check_detokenizer(name: object) -> str:
    """Returns the name of a detokenizer; raises as `check_choice` does."""
    advice = "Ordinary text needs 'none'."
    return check_choice("detokenizer", name, _DETOKENIZERS, advice=advice)
