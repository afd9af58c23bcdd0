"""The published protocols of each task."""

from gpt2_keras.evaluation.task_protocol import TaskProtocol
from gpt2_keras.validation import check_choice

_PAPER = "Radford et al. (2019), section 3"
_HARNESS = "EleutherAI/lm-evaluation-harness"
_MEGATRON = "NVIDIA/Megatron-LM tasks/zeroshot_gpt/"
_WINDOWS = "The windows are not stated; here they are disjoint."
_HARNESS_PAIR = {"start": "if empty", "together": True}


def _wikitext(task: str, denominator: str) -> tuple[TaskProtocol, ...]:
    return (
        TaskProtocol(
            task,
            "paper",
            f"{_PAPER}.1, table 3",
            "text",
            detokenizer="wikitext",
            denominator=denominator,
            unknown=(
                f"{_WINDOWS} WikiText-2 and WikiText-103 have one test text; the published "
                "figures match a perplexity per token of the one and per word of the other."
            ),
        ),
        TaskProtocol(
            task,
            "lm-eval",
            f"{_HARNESS} lm_eval/tasks/wikitext",
            "text",
            detokenizer="wikitext-harness",
            document="page",
            full_last_window=True,
            denominator="split word",
        ),
        TaskProtocol(
            task,
            "megatron",
            f"{_MEGATRON}datasets.py",
            "text",
            detokenizer="wikitext-harness",
            start="never",
            stride=32,  # --overlapping-eval, its default
            denominator="space",
        ),
    )


def _cbt(task: str) -> tuple[TaskProtocol, ...]:
    return (
        TaskProtocol(
            task,
            "paper",
            f"{_PAPER}.2, on the validation set",
            "choice and rest",
            detokenizer="cbt",
            unknown="The detokenizer is not published; here it is that of lm-eval.",
        ),
        TaskProtocol(
            task,
            "lm-eval",
            f"{_HARNESS} v0.2.0 lm_eval/tasks/cbt.py",
            "passage",
            detokenizer="cbt",
            **_HARNESS_PAIR,  # type: ignore[arg-type]
        ),
    )


def _characters(task: str, denominator: str) -> TaskProtocol:
    return TaskProtocol(
        task,
        "paper",
        f"{_PAPER}.1, table 3",
        "text",
        denominator=denominator,
        unknown=f"{_WINDOWS} The test set is the usual one, the last 5 of 100 million bytes.",
    )


_PROTOCOLS = (
    TaskProtocol(
        "lambada-openai",
        "paper",
        f"{_PAPER}.3, with OpenAI's lambada_test.jsonl",
        "last token",
        filter="stop words",
        unknown=(
            "The list of stop words is not published; here it is NLTK's of 127 words. For the "
            "last token others get 46.67 and 46.89 from the 117M weights "
            "(huggingface/transformers#13761, openai/gpt-2#131)."
        ),
    ),
    *(
        TaskProtocol(
            task,
            "lm-eval",
            f"{_HARNESS} lm_eval/tasks/lambada, {task.replace('-', '_')}",
            "last word",
            **_HARNESS_PAIR,  # type: ignore[arg-type]
        )
        for task in ("lambada-openai", "lambada-standard")
    ),
    TaskProtocol(
        "lambada-openai",
        "megatron",
        f"{_MEGATRON}datasets.py, without --strict-lambada",
        "last token",
        start="never",
    ),
    *_cbt("cbt-cn"),
    *_cbt("cbt-ne"),
    *_wikitext("wikitext-2", "token"),
    *_wikitext("wikitext-103", "word"),
    TaskProtocol(
        "ptb",
        "paper",
        f"{_PAPER}.1, table 3",
        "text",
        detokenizer="ptb",
        denominator="word",
        unknown=(
            f"{_WINDOWS} The detokenizer is not published. The figure is not known to be "
            "reproducible (EleutherAI/lm-evaluation-harness#135)."
        ),
    ),
    TaskProtocol(
        "ptb",
        "megatron",
        f"{_MEGATRON}datasets.py, with its ptb_detokenizer",
        "text",
        detokenizer="ptb-megatron",
        start="never",
        stride=32,
        denominator="space",
    ),
    _characters("enwik8", "byte"),
    _characters("text8", "character"),
    TaskProtocol(
        "1bw",
        "paper",
        f"{_PAPER}.1, table 3",
        "text",
        detokenizer="lm1b",
        document="line",
        denominator="word",
        unknown=(
            f"{_WINDOWS} The detokenizer is not published. The figure is not known to be "
            "reproducible (huggingface/transformers#13761 gets 45.88 per token)."
        ),
    ),
    TaskProtocol(
        "hellaswag",
        "lm-eval",
        f"{_HARNESS} lm_eval/tasks/hellaswag",
        "choice",
        detokenizer="hellaswag",
        normalization=("character", "byte"),
        **_HARNESS_PAIR,  # type: ignore[arg-type]
    ),
    TaskProtocol(
        "hellaswag",
        "llm.c",
        "karpathy/llm.c dev/data/hellaswag.py",
        "choice",
        start="never",
        normalization=("token",),
    ),
)
TASKS: dict[str, dict[str, TaskProtocol]] = {}
for _protocol in _PROTOCOLS:
    TASKS.setdefault(_protocol.task, {})[_protocol.name] = _protocol
# Of applications, whose answers are generated and compared with the right ones.
APPLICATION_PROTOCOLS = {
    task: TaskProtocol(
        task,
        "paper",
        source,
        target,
        start="",
        unknown="The texts are those of the file; the published figures are of the data set named.",
    )
    for task, source, target in (
        ("summarize", f"{_PAPER}.6", "ROUGE F1 with stemming, rougeLsum, of the first 3 sentences"),
        ("translate", f"{_PAPER}.7", "BLEU of sacrebleu, of the first sentence, greedily"),
        ("answer", f"{_PAPER}.5", "exact match and F1, normalized as SQuAD's, greedily"),
        ("classify", "Zhao et al. (2021)", "accuracy by calibrated probabilities"),
    )
}
PROTOCOL_NAMES = ("paper", "lm-eval", "llm.c", "megatron")


def find_protocol(task: str, name: str | None = None) -> TaskProtocol:
    """Returns a protocol of a task.

    Args:
        task: One of `TASKS`.
        name: One of `PROTOCOL_NAMES`. By default the paper's, or lm-eval's.

    Raises:
        TypeError, ValueError: If there is no such task, or the task has no such protocol.

    Example:
        >>> find_protocol("lambada-openai", "megatron").to_text()
        'scored: last token; encoded apart; <|endoftext|> before: never; detokenizer: none'
    """
    protocols = TASKS[check_choice("task", task, TASKS)]
    if name is None:
        return next(iter(protocols.values()))
    check_choice("protocol", name, PROTOCOL_NAMES)
    if name not in protocols:
        raise ValueError(
            f"protocol={name!r} says nothing of task={task!r}, which has "
            f"{' and '.join(map(repr, protocols))}. Use one of these."
        )
    return protocols[name]
