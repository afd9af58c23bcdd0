"""Published tasks, measured by a published protocol."""

import dataclasses
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2_keras.data.corpus_files import check_paths
from gpt2_keras.evaluation.continuations import continuation_span, encode_pair, with_start_token
from gpt2_keras.evaluation.data_sets import read_passages, read_texts
from gpt2_keras.evaluation.detokenizers import detokenize
from gpt2_keras.evaluation.perplexity import windows
from gpt2_keras.evaluation.protocols import find_protocol
from gpt2_keras.evaluation.published import PublishedFigure, published_figures
from gpt2_keras.evaluation.questions import read_questions
from gpt2_keras.evaluation.report import exponential
from gpt2_keras.evaluation.stop_words import stop_word_ids
from gpt2_keras.evaluation.task_protocol import TaskProtocol
from gpt2_keras.generation.spans import Span, SpanScore, score_spans
from gpt2_keras.model import GPT2Model

PathLike = str | os.PathLike[str]
Progress = Callable[[int, int], None]
_LENGTHS: dict[str, Callable[[str, SpanScore], int]] = {
    "token": lambda _, score: len(score.log_probs),
    "character": lambda choice, _: len(choice),
    "byte": lambda choice, _: len(choice.encode("utf-8", "replace")),
}
# The number of units of texts, by the name of the unit; `token` is counted by the tokenizer.
_UNITS: dict[str, Callable[[Sequence[str]], int]] = {
    "word": lambda texts: sum(len(text.split()) for text in texts),
    "split word": lambda texts: sum(len(re.split(r"\s+", text)) for text in texts),
    "space": lambda texts: sum(len(text.strip().split(" ")) - 1 for text in texts),
    "character": lambda texts: sum(map(len, texts)),
    "byte": lambda texts: sum(len(text.encode("utf-8", "replace")) for text in texts),
}


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """A task measured by a protocol.

    Args:
        protocol: The rules.
        files: The files.
        num_examples: Passages or questions, or texts that begin with the start token.
        num_tokens: Number of tokens scored.
        measures: By name: `perplexity`, or `bits` per byte or character, by the protocol's unit,
            and `token_perplexity`; or `accuracy` and what the protocol has besides.
        context_length: Of the model.
        dtype: The dtype policy of the model.
        published: What others published for OpenAI's weights of this size, or of the smallest.
    """

    protocol: TaskProtocol
    files: tuple[str, ...]
    num_examples: int
    num_tokens: int
    measures: dict[str, float]
    context_length: int
    dtype: str
    published: tuple[PublishedFigure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the result for JSON; what is not finite becomes None."""
        fields = dataclasses.asdict(self)
        measures = {k: v if math.isfinite(v) else None for k, v in self.measures.items()}
        return {**fields, "measures": measures, "rules": self.protocol.to_text()}


def evaluate_task(
    model: GPT2Model,
    task: str,
    files: PathLike | Sequence[PathLike],
    *,
    protocol: str | None = None,
    batch_size: int | None = None,
    on_progress: Progress | None = None,
) -> TaskResult:
    """Measures a published task by a published protocol.

    Args:
        model: A model with a tokenizer.
        task: `"lambada-openai"`, `"lambada-standard"`, `"cbt-cn"`, `"cbt-ne"`, `"wikitext-2"`,
            `"wikitext-103"`, `"ptb"`, `"enwik8"`, `"text8"`, `"1bw"` or `"hellaswag"`.
        files: The files of the data set, as they are distributed.
        protocol: `"paper"`, `"lm-eval"`, `"llm.c"` or `"megatron"`, see `TaskProtocol`. By
            default the paper's, or lm-eval's where the paper says nothing of the task.
        batch_size: Spans in a batch, which changes results by rounding only.
        on_progress: Called with the number of tokens scored and of all.

    Returns:
        The measures, with what was published.

    Raises:
        TypeError, ValueError: If an argument is wrong, the task has no such protocol, or a file is
            of another task, damaged, or too short.
        FileNotFoundError: If a file does not exist.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
        >>> model = GPT2LM(GPT2Config(vocab_size=257, context_length=16, num_layers=1,
        ...                           num_heads=1, hidden_dim=4), tokenizer)
        >>> file = Path(tempfile.mkdtemp()) / "lambada_test.jsonl"
        >>> _ = file.write_text('{"text": "a cat sat"}')
        >>> result = evaluate_task(model, "lambada-openai", file, protocol="lm-eval")
        >>> result.num_examples, result.num_tokens, sorted(result.measures)
        (1, 4, ['accuracy', 'perplexity'])
    """
    rules = find_protocol(task, protocol)
    paths = check_paths([files] if isinstance(files, str | os.PathLike) else files)
    ignored = stop_word_ids(model.require_tokenizer()) if rules.filter else ()
    measure = {
        "text": _measure_text,
        "last token": _measure_passages,
        "last word": _measure_passages,
    }.get(rules.target, _measure_choices)

    def score(spans: list[Span]) -> list[SpanScore]:
        options: dict[str, Any] = {"batch_size": batch_size, "ignored_ids": ignored}
        return score_spans(model, spans, **options, on_progress=on_progress)

    num_examples, num_tokens, measures = measure(model, rules, paths, score)
    return TaskResult(
        protocol=rules,
        files=tuple(map(str, paths)),
        num_examples=num_examples,
        num_tokens=num_tokens,
        measures=measures,
        context_length=model.config.context_length,
        dtype=model.dtype_policy.name,
        published=tuple(published_figures(task, rules.name, model.config)),
    )


Scorer = Callable[[list[Span]], list[SpanScore]]
Measured = tuple[int, int, dict[str, float]]


def _measure_text(
    model: GPT2Model, rules: TaskProtocol, paths: list[Path], score: Scorer
) -> Measured:
    """Measures perplexity or bits."""
    tokenizer, context = model.require_tokenizer(), model.config.context_length
    texts = [text for path in paths for text in read_texts(rules.task, path, rules.document)]
    rows = tokenizer.encode([detokenize(text, rules.detokenizer) for text in texts])
    spans: list[Span] = []
    for row in rows:
        ids = with_start_token(tokenizer, row, rules.start)
        if len(ids) > 1:
            stride = min(context, rules.stride or context)
            spans += windows(ids, context, stride, full_last_window=rules.full_last_window)
    scores = score(spans)
    num_tokens = sum(len(each.log_probs) for each in scores)
    units = num_tokens if rules.denominator == "token" else _UNITS[rules.denominator](texts)
    if not num_tokens or not units:
        raise ValueError(
            f"The texts of {', '.join(map(str, paths))} have {num_tokens} tokens to score and "
            f"{units} units ({rules.denominator}). Use longer ones."
        )
    loss = -math.fsum(each.total for each in scores)
    bits = rules.denominator in ("byte", "character")
    found = (
        {"bits": loss / units / math.log(2)} if bits else {"perplexity": exponential(loss / units)}
    )
    return len(texts), num_tokens, {**found, "token_perplexity": exponential(loss / num_tokens)}


def _measure_passages(
    model: GPT2Model, rules: TaskProtocol, paths: list[Path], score: Scorer
) -> Measured:
    """Measures how well the end of passages is predicted."""
    tokenizer, context = model.require_tokenizer(), model.config.context_length
    spans = []
    for source, text in (each for path in paths for each in read_passages(rules.task, path)):
        if rules.target == "last token":
            ids = tokenizer.encode(text)
            given, scored = ids[:-1], ids[-1:]
        else:
            # At the last space, as lm-evaluation-harness' lambada_openai.yaml does.
            before, _, word = text.rpartition(" ")
            given, scored = encode_pair(tokenizer, before, f" {word}", together=rules.together)
        given = with_start_token(tokenizer, given, rules.start)
        spans.append(continuation_span(source, given, scored, context))
    scores = score(spans)
    count = len(scores)
    loss = -math.fsum(each.total for each in scores)
    measures = {
        "perplexity": exponential(loss / count),
        "accuracy": sum(not each.ranks.any() for each in scores) / count,
    }
    if rules.filter:
        right = sum(not each.filtered_ranks.any() for each in scores)
        measures["accuracy_without_stop_words"] = right / count
    return count, sum(len(each.log_probs) for each in scores), measures


def _measure_choices(
    model: GPT2Model, rules: TaskProtocol, paths: list[Path], score: Scorer
) -> Measured:
    """Measures how often the right choice is the most likely one."""
    tokenizer, context = model.require_tokenizer(), model.config.context_length
    questions = [question for path in paths for question in read_questions(rules, path)]
    spans = []
    for question in questions:
        for before, after in question.pairs:
            given, scored = encode_pair(tokenizer, before, after, together=rules.together)
            given = with_start_token(tokenizer, given, rules.start)
            if rules.target == "passage":
                scored = scored[-context:]  # the choices differ at the end, in the question
            spans.append(continuation_span(question.source, given, scored, context))
    scores = iter(score(spans))
    names = ["accuracy", *(f"accuracy_by_{unit}" for unit in rules.normalization)]
    right, num_tokens = dict.fromkeys(names, 0), 0
    for question in questions:
        found = [next(scores) for _ in question.choices]
        totals = np.array([each.total for each in found])
        num_tokens += sum(len(each.log_probs) for each in found)
        right["accuracy"] += int(totals.argmax()) == question.label
        for unit in rules.normalization:
            pairs = zip(question.choices, found, strict=True)
            lengths = np.array([_LENGTHS[unit](*pair) for pair in pairs])
            right[f"accuracy_by_{unit}"] += int((totals / lengths).argmax()) == question.label
    count = len(questions)
    return count, num_tokens, {name: value / count for name, value in right.items()}
