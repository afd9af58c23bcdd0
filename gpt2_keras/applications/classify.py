"""Classification by prompt, calibrated."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from gpt2_keras.applications.text_task import Field, Literal, TextTask, fill
from gpt2_keras.applications.translate import Pairs, check_pairs
from gpt2_keras.generation import Sampler
from gpt2_keras.generation.spans import Span, score_spans
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_flag, check_list, check_text, check_texts

# Without content: "Calibrate Before Use" (Zhao et al., 2021), section 5, which averages over these.
CONTENT_FREE = ("N/A", "[MASK]", "")
# After a label, so that one is never the beginning of another.
LABEL_END = "\n"


@dataclasses.dataclass(frozen=True)
class ClassificationTask:
    """A classification by prompt, as data: Python and the exports run the same.

    Args:
        prompt: The template, whose `max_new_tokens` is the length of the longest label.
        labels: The names of the labels.
        bias: What is subtracted from the log-probability of each label: that without content,
            or zeros.
    """

    prompt: TextTask
    labels: tuple[str, ...]
    bias: tuple[float, ...]
    name: str = "classify"

    def to_dict(self) -> dict[str, Any]:
        """Returns the task for JSON."""
        return {**dataclasses.asdict(self), "prompt": self.prompt.to_dict()}

    @classmethod
    def from_dict(cls, contents: Mapping[str, Any]) -> Self:
        """Returns the task of a `to_dict` dictionary."""
        labels, bias = tuple(contents["labels"]), tuple(contents["bias"])
        return cls(TextTask.from_dict(contents["prompt"]), labels, bias)


@dataclasses.dataclass(frozen=True)
class Classification:
    """The label of a text.

    Args:
        label: The most likely one.
        probabilities: Of each label, calibrated; together 1.
        prompt: What the model read.
        cropped: What was left out of it, as it did not fit.
        log_prob: The log-probability of the label after the prompt, in nats, not calibrated.
    """

    label: str
    probabilities: dict[str, float]
    prompt: str
    cropped: str
    log_prob: float

    def __str__(self) -> str:
        return self.label


def classification_task(
    model: GPT2Model,
    labels: Sequence[str],
    *,
    examples: Pairs = (),
    calibrate: bool = True,
    text_name: str = "Text",
    label_name: str = "Label",
) -> ClassificationTask:
    """Returns the task of `classify`, for `export`; it asks the model for its bias."""
    check_flag("calibrate", calibrate)
    names = _check_labels(labels)
    for name in (text_name, label_name):
        check_text("text_name or label_name", name)
    pairs = check_pairs("examples", examples)
    if unknown := [label for _, label in pairs if label not in names]:
        raise ValueError(
            f"examples have the label {unknown[0]!r}, which is none of {', '.join(names)}. "
            "Use these labels alone."
        )
    shown = "".join(f"{text_name}: {text}\n{label_name}: {label}\n\n" for text, label in pairs)
    tokenizer = model.require_tokenizer()
    longest = max(len(ids) for ids in tokenizer.encode([label_text(name) for name in names]))
    prompt = TextTask(
        "classify",
        (
            Literal(f"{shown}{text_name}:"),
            Field("text", before=" ", crop="end", required=False),
            Literal(f"\n{label_name}:"),
        ),
        Sampler(temperature=0.0),
        longest,
    )
    task = ClassificationTask(prompt, names, (0.0,) * len(names))
    if not calibrate:
        return task
    scores = np.array([_score(model, task, text)[0] for text in CONTENT_FREE])  # (texts, labels)
    probabilities = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)).mean(axis=0)
    return dataclasses.replace(task, bias=tuple(np.log(probabilities).tolist()))


def classify(
    model: GPT2Model,
    text: str | Sequence[str],
    labels: Sequence[str],
    *,
    examples: Pairs = (),
    calibrate: bool = True,
    text_name: str = "Text",
    label_name: str = "Label",
) -> Any:
    """Finds the label of texts, by the probability of each label after the text.

    The model reads the examples, the text, and `Label:`; the probability of a label is that of
    its name, up to the end of the line, so that no label is the beginning of another. With
    `calibrate` it is divided by the probability of the label where the text has no content,
    which a language model prefers some labels in.

    Args:
        model: A model with a tokenizer. For a trained classifier see
            `gpt2_keras.finetuning.GPT2Classifier`.
        text: One text, or several. One too long for the context loses its end.
        labels: The names of the labels, at least two.
        examples: Pairs of a text and its label.
        calibrate: Whether to calibrate.
        text_name, label_name: What stands before text and label, such as `"Review"` and
            `"Sentiment"`.

    Returns:
        A `Classification`; a list of them for several texts.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If there are fewer than two labels, one is empty or given twice, a text is
            empty, or an example has another label.

    Source: "Calibrate Before Use: Improving Few-Shot Performance of Language Models" (Zhao et
    al., 2021): W = diag(p)⁻¹, b = 0.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
        >>> model = GPT2LM(GPT2Config(vocab_size=257, context_length=64, num_layers=1,
        ...                           num_heads=1, hidden_dim=4), tokenizer)
        >>> found = classify(model, "a cat", ["good", "bad"], text_name="Review")
        >>> found.prompt, round(sum(found.probabilities.values()), 6)
        ('Review: a cat\\nLabel:', 1.0)
    """
    texts = check_texts("text", text)
    for index, each in enumerate(texts):
        if not each.strip():
            raise ValueError(
                f"text[{index}]={each!r:.40} is empty. Use a text with at least one character that "
                "is no white space."
            )
    task = classification_task(
        model,
        labels,
        examples=examples,
        calibrate=calibrate,
        text_name=text_name,
        label_name=label_name,
    )
    found = [run_classification(model, task, each) for each in texts]
    return found[0] if isinstance(text, str) else found


def run_classification(
    model: GPT2Model, task: ClassificationTask, text: str, context_length: int | None = None
) -> Classification:
    """Finds the label of a text; the arguments are those of `run_task`."""
    scores, prompt, cropped = _score(model, task, text, context_length)
    calibrated = scores - np.array(task.bias)
    probabilities = np.exp(calibrated - np.logaddexp.reduce(calibrated))
    best = int(probabilities.argmax())
    return Classification(
        label=task.labels[best],
        probabilities=dict(zip(task.labels, probabilities.tolist(), strict=True)),
        prompt=prompt,
        cropped=cropped,
        log_prob=float(scores[best]),
    )


def label_text(label: str) -> str:
    """Returns what is scored for a label."""
    return f" {label}{LABEL_END}"


def _score(
    model: GPT2Model, task: ClassificationTask, text: str, context_length: int | None = None
) -> tuple[np.ndarray, str, str]:
    """Returns the log-probability of each label, float64 `(labels,)`, prompt and cropped text."""
    prompt, cropped = fill(model, task.prompt, {"text": text}, context_length)
    tokenizer = model.require_tokenizer().with_special_tokens_policy("none")
    spans = []
    for ids in tokenizer.encode([label_text(label) for label in task.labels]):
        whole = np.array([*prompt.token_ids, *ids], "int32")
        spans.append(Span(whole[:-1], whole[-len(ids) :]))
    scores = np.array([each.total for each in score_spans(model, spans)])
    return scores, prompt.text, cropped


def _check_labels(labels: object) -> tuple[str, ...]:
    """Returns the labels, each without white space at its edges."""
    listed = list(check_list("labels", labels, "a list of names"))
    names = [check_text(f"labels[{i}]", each).strip() for i, each in enumerate(listed)]
    if len(names) < 2:
        raise ValueError(
            f"labels={names!r} has {len(names)} of them, and there must be at least two to choose "
            'from. Use, for example, ["no", "yes"].'
        )
    if not all(names) or len(set(names)) < len(names):
        raise ValueError(
            f"labels={names!r:.120} has an empty name, or one twice. Give each label a name of its "
            "own."
        )
    if wrong := [name for name in names if LABEL_END in name]:
        raise ValueError(f"labels has {wrong[0]!r}, which has a line end. Use names of one line.")
    return tuple(names)
