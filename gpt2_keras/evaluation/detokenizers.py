"""Detokenizers: turn the text of a data set back into ordinary text.

Some corpora are split into words, with spaces around punctuation, and a model of ordinary
text has never seen such text. The model reads the detokenized text, while words and bytes
are counted in the original. Source: "Language Models are
Unsupervised Multitask Learners" (Radford et al., 2019), section 3.1.
"""

import re

from gpt2_keras.validation import check_choice, check_text

Replacements = tuple[tuple[str, str], ...]
_PUNCTUATION: Replacements = ((r" ([:;.!?,]) ", r"\1 "),)
_AROUND_LINE_ENDS: Replacements = ((r" \n", "\n"), (r"\n ", "\n"))
_WIKITEXT_SIGNS: Replacements = (
    (r"= = = =", "===="),
    (r"= = =", "==="),
    (r"= =", "=="),
    (r" ° ", "°"),
)
# The replacements of the next one, but brackets and quotes only within a line: there an odd one
# swaps all that follow.
_WIKITEXT: Replacements = (
    (r"s '", "s'"),  # the dogs ' tails
    (r" @([-,.])@ ", r"\1"),  # 1 @,@ 000
    *_PUNCTUATION,
    (r"\( *([^)\n]*?) *\)", r"(\1)"),
    (r"\[ *([^]\n]*?) *\]", r"[\1]"),
    (r"\{ *([^}\n]*?) *\}", r"{\1}"),
    (r'" *([^"\n]*?) *"', r'"\1"'),
    (r"' *([^'\n]*?) *'", r"'\1'"),
    *_WIKITEXT_SIGNS,
    (r" ?\n ?", "\n"),
    (r" 's", "'s"),
)
# NVIDIA/Megatron-LM tasks/zeroshot_gpt/detokenizer.py, `wikitext_detokenizer`, which
# lm-evaluation-harness has too (lm_eval/tasks/wikitext/preprocess_wikitext.py), in its order.
_WIKITEXT_HARNESS: Replacements = (
    (r"s '", "s'"),
    (r"/' [0-9]/", r"/'[0-9]/"),
    *((f" @{re.escape(sign)}@ ", sign) for sign in "-,."),
    *((re.escape(f" {sign} "), f"{sign} ") for sign in ":;.!?,"),
    (r"\(\s*([^\)]*?)\s*\)", r"(\1)"),
    (r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
    (r"{\s*([^}]*?)\s*}", r"{\1}"),
    (r'"\s*([^"]*?)\s*"', r'"\1"'),
    (r"'\s*([^']*?)\s*'", r"'\1'"),
    *_WIKITEXT_SIGNS,
    *_AROUND_LINE_ENDS,
    (r" N ", " 1 "),
    (r" 's", "'s"),
)
# NVIDIA/Megatron-LM tasks/zeroshot_gpt/detokenizer.py, `ptb_detokenizer`.
_PTB_MEGATRON: Replacements = (
    (r" '", "'"),
    *_AROUND_LINE_ENDS,
    (r" n't", "n't"),
    (r" N ", "1 "),
    (r"\$ 1", "$1"),
    (r"# 1", "#1"),
)
# louaaron/Score-Entropy-Discrete-Diffusion data.py, `ptb_detokenizer`. Numbers next to each other
# (" N N ") share a space, which the look-ahead leaves to the next one.
_PTB: Replacements = (
    (r" 's", "'s"),
    (r"s ' ", "s' "),
    (r" n't", "n't"),
    (r" \n ", "\n"),
    (r"\\/", "/"),
    (r" N(?= )", " 1"),
    (r"\$ 1", "$1"),
    (r"# 1", "#1"),
    (r"<unk>", "?"),
)
# louaaron/Score-Entropy-Discrete-Diffusion data.py, `lm1b_detokenizer`.
_LM1B: Replacements = (
    (r"(https?) : / / ", r"\1://"),
    (r" '(\w+)", r"'\1"),
    (r" (\w+) \. ", r" \1. "),
    (r" (\w+) \.$", r" \1."),
    *((rf" {re.escape(sign)} ", f"{sign} ") for sign in "?!,:;"),
    (r" ([?!])$", r"\1"),
    (r" / ", "/"),
    (r'" ([^"]+) "', r'"\1"'),
    (r"' ([^']+) '", r"'\1'"),
    (r"\( ([^()]+) \)", r"(\1)"),
    (r"\[ ([^\[\]]+) \]", r"[\1]"),
    (r"([$£]) ", r"\1"),
)
# EleutherAI/lm-evaluation-harness v0.2.0 lm_eval/tasks/cbt.py, `detokenize`.
_CBT: Replacements = (
    (r" '", "'"),
    *_AROUND_LINE_ENDS,
    (r" n't", "n't"),
    (r"`` ", '"'),
    (r"''", '"'),
    *((f" {re.escape(sign)}", sign) for sign in ":;!?,."),
)
# EleutherAI/lm-evaluation-harness lm_eval/tasks/hellaswag/utils.py, `preprocess`: what WikiHow
# left in the texts.
_HELLASWAG: Replacements = (
    (r"\A\s+|\s+\Z", ""),
    (r" \[title\]", ". "),
    (r"\[.*?\]", ""),
    (r"  ", " "),
)
# Patterns and what replaces them, one after the other.
_DETOKENIZERS: dict[str, Replacements] = {
    "none": (),
    "wikitext": _WIKITEXT,
    "wikitext-harness": _WIKITEXT_HARNESS,
    "ptb": _PTB,
    "ptb-megatron": _PTB_MEGATRON,
    "lm1b": _LM1B,
    "cbt": _CBT,
    "hellaswag": _HELLASWAG,
}
DETOKENIZERS = tuple(_DETOKENIZERS)


def detokenize(text: str, name: str) -> str:
    """Returns the ordinary text of a text from a data set.

    Args:
        text: The text of the data set.
        name: `"none"`; `"wikitext"` for WikiText-2 and WikiText-103, or `"wikitext-harness"`, which
            is Megatron-LM's and lm-evaluation-harness'; `"ptb"` for the Penn Treebank, or
            `"ptb-megatron"`; `"lm1b"` for the One Billion Word benchmark; `"cbt"` for the
            Children's Book Test; `"hellaswag"`.

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
