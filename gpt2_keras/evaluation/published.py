"""Figures that others published for OpenAI's weights, by task and protocol."""

import dataclasses

from gpt2_keras.config import SIZES, GPT2Config


@dataclasses.dataclass(frozen=True)
class PublishedFigure:
    """A published figure.

    Args:
        task: The task.
        protocol: The protocol, see `TaskProtocol`.
        size: The size of the model, one of `GPT2Config`'s: `"gpt2"` and so on.
        measure: The measure, as `TaskResult.measures` names it.
        value: Its value, accuracies as fractions.
        source: Where it was published.
    """

    task: str
    protocol: str
    size: str
    measure: str
    value: float
    source: str


_TABLE_3 = "Radford et al. (2019), table 3"
# By column of table 3: the measure, and its value for 117M, 345M, 762M and 1542M parameters.
_PAPER: dict[str, tuple[tuple[str, tuple[float, float, float, float]], ...]] = {
    "lambada-openai": (
        ("perplexity", (35.13, 15.60, 10.87, 8.63)),
        ("accuracy", (0.4599, 0.5548, 0.6012, 0.6324)),
    ),
    "cbt-cn": (("accuracy", (0.8765, 0.9235, 0.9345, 0.9330)),),
    "cbt-ne": (("accuracy", (0.834, 0.871, 0.880, 0.8905)),),
    "wikitext-2": (("perplexity", (29.41, 22.76, 19.93, 18.34)),),
    "ptb": (("perplexity", (65.85, 47.33, 40.31, 35.76)),),
    "enwik8": (("bits", (1.16, 1.01, 0.97, 0.93)),),
    "text8": (("bits", (1.17, 1.06, 1.02, 0.98)),),
    "wikitext-103": (("perplexity", (37.50, 26.37, 22.05, 17.48)),),
    "1bw": (("perplexity", (75.20, 55.72, 44.575, 42.16)),),
}
_LLM_C = "karpathy/llm.c dev/data/hellaswag.py"
_OTHERS = (
    ("lambada-openai", "lm-eval", "gpt2", "accuracy", 0.3256, "lm-evaluation-harness#2159"),
    ("lambada-openai", "lm-eval", "gpt2", "perplexity", 40.0554, "lm-evaluation-harness#2159"),
    ("lambada-openai", "lm-eval", "gpt2_xl", "perplexity", 10.63, "lm-evaluation-harness#911"),
    ("wikitext-2", "lm-eval", "gpt2", "perplexity", 37.37, "huggingface/transformers#13761"),
    ("hellaswag", "lm-eval", "gpt2", "accuracy", 0.2892, _LLM_C),
    ("hellaswag", "lm-eval", "gpt2", "accuracy_by_character", 0.3114, _LLM_C),
    ("hellaswag", "lm-eval", "gpt2_xl", "accuracy", 0.4004, _LLM_C),
    ("hellaswag", "lm-eval", "gpt2_xl", "accuracy_by_character", 0.5089, _LLM_C),
    ("hellaswag", "llm.c", "gpt2", "accuracy", 0.2859, _LLM_C),
    ("hellaswag", "llm.c", "gpt2", "accuracy_by_token", 0.2955, _LLM_C),
    ("hellaswag", "llm.c", "gpt2_xl", "accuracy", 0.3842, _LLM_C),
    ("hellaswag", "llm.c", "gpt2_xl", "accuracy_by_token", 0.4893, _LLM_C),
)  # fmt: skip
# Of the largest model, in sections 3.5 to 3.7: on CoQA's development set, CNN/Daily Mail and
# WMT-14 English to French.
_APPLICATIONS = (
    ("answer", "f1", 0.55, "section 3.5, CoQA"),
    ("summarize", "rouge1", 0.2934, "table 4, CNN/Daily Mail"),
    ("summarize", "rouge2", 0.0827, "table 4, CNN/Daily Mail"),
    ("summarize", "rougeLsum", 0.2658, "table 4, CNN/Daily Mail"),
    ("translate", "bleu", 5.0, "section 3.7, WMT-14 English to French"),
)
FIGURES = (
    *(
        PublishedFigure(task, "paper", size, measure, value, _TABLE_3)
        for task, measures in _PAPER.items()
        for measure, values in measures
        for size, value in zip(SIZES, values, strict=True)
    ),
    *(PublishedFigure(*fields) for fields in _OTHERS),
    *(
        PublishedFigure(task, "paper", "gpt2_xl", measure, value, f"Radford et al. (2019), {where}")
        for task, measure, value, where in _APPLICATIONS
    ),
)


def published_figures(task: str, protocol: str, config: GPT2Config) -> list[PublishedFigure]:
    """Returns the figures published for a task and protocol.

    Args:
        task: The task.
        protocol: The protocol.
        config: The shape of the model: of one of OpenAI's sizes, the figures of that size
            alone; of another shape, those of the smallest that has any.

    Example:
        >>> [each.value for each in published_figures("wikitext-2", "paper", GPT2Config.gpt2())]
        [29.41]
    """
    fields, listed = config.to_dict(), list(SIZES)
    found = [each for each in FIGURES if (each.task, each.protocol) == (task, protocol)]
    smallest = min((each.size for each in found), key=listed.index, default="")
    named = (name for name, shape in SIZES.items() if shape.items() <= fields.items())
    size = next(named, smallest)
    return [each for each in found if each.size == size]
