"""Detokenizers: turn the text of a data set back into ordinary text.

Some corpora are split into words, with spaces around punctuation, and a model of ordinary
text has never seen such text. The model reads the detokenized text, while words and bytes
are counted in the original. Source: "Language Models are
Unsupervised Multitask Learners" (Radford et al., 2019), section 3.1.
"""

import re

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
# Patterns and what replaces them, one after the other.
_DETOKENIZERS: dict[str, tuple[tuple[str, str], ...]] = {"none": (), "wikitext": _WIKITEXT}


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
    replacements = _DETOKENIZERS[check_detokenizer(name)]
    text = check_text("text", text)
    for pattern, replacement in replacements:
        text = re.sub(pattern, replacement, text)
    return text


def check_detokenizer(name: object) -> str:
    """Returns the name of a detokenizer; raises as `check_choice` does."""
    advice = "Ordinary text needs 'none'."
    return check_choice("detokenizer", name, _DETOKENIZERS, advice=advice)
