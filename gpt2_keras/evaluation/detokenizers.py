"""Text of a data set as people would have written it.

Some corpora come split into words, with spaces around punctuation. A model of
ordinary text has never seen such text; it reads what a detokenizer makes of it,
while words and bytes are counted in the original. Source: "Language Models are
Unsupervised Multitask Learners" (Radford et al., 2019), section 3.1.
"""

import re
from collections.abc import Callable

# What NVIDIA/Megatron-LM tasks/zeroshot_gpt/detokenizer.py and lm-evaluation-harness undo
# in WikiText, in their order, but brackets and quotes only within a line: there an odd
# one turns over all that follow. Their rules for other corpora (" N " is " 1 ") are left out.
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
_RULES = [(re.compile(pattern), text) for pattern, text in _WIKITEXT]


def _none(text: str) -> str:
    return text


def _wikitext(text: str) -> str:
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


_DETOKENIZERS: dict[str, Callable[[str], str]] = {"none": _none, "wikitext": _wikitext}


def detokenize(text: str, name: str) -> str:
    """Undoes what a data set did to its text.

    Args:
        text: The text as the data set has it.
        name: `"none"`, or `"wikitext"` for WikiText-2 and WikiText-103.

    Raises:
        ValueError: If there is no such detokenizer.

    Example:
        >>> detokenize("It cost 1 @,@ 000 dollars ( or less ) , he said . \\n", "wikitext")
        'It cost 1,000 dollars (or less), he said.\\n'
    """
    if name not in _DETOKENIZERS:
        raise ValueError(
            f"The detokenizer must be one of {', '.join(_DETOKENIZERS)}. "
            f"Received: detokenizer={name!r}. Use 'none' for ordinary text."
        )
    return _DETOKENIZERS[name](text)
