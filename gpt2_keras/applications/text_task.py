"""A task from text to text: template, sampler, stop strings and post-processing as data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

from gpt2_keras.applications.post_processing import first_sentences, strip
from gpt2_keras.applications.turns import crop_turns, turn_start
from gpt2_keras.generation import EncodedPrompt, Sampler, generate_details
from gpt2_keras.generation.session import Generation
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.validation import check_integer, check_text


@dataclasses.dataclass(frozen=True)
class Literal:
    """A part of a prompt that is always the same.

    Args:
        text: The text.
        separator: What stands before it, unless it begins the prompt.
    """

    text: str
    separator: str = ""


@dataclasses.dataclass(frozen=True)
class Field:
    """A part of a prompt that is given, without white space at its edges.

    Args:
        name: Its name.
        before: What stands before it, such as a space, unless it is empty.
        crop: What of it may be left out where a prompt is too long: its `"end"`, its oldest
            `"turns"` (of a conversation), or nothing.
        required: Whether it must not be empty.
    """

    name: str
    before: str = ""
    crop: str = ""
    required: bool = True


@dataclasses.dataclass(frozen=True)
class TextTask:
    """A task from text to text, as data: Python and the exports run the same.

    Args:
        name: Its name: `"summarize"`, `"translate"`, `"answer"` or `"chat"`.
        parts: The prompt. Each part is encoded alone, and begins where a pre-token does, so that
            together they have the ids of the whole text.
        sampler: How the answer is generated.
        max_new_tokens: Largest number of its tokens, for which a prompt leaves room.
        stop: Strings that end it.
        num_sentences: Number of sentences that are kept, the first ones; 0 for all.
    """

    name: str
    parts: tuple[Literal | Field, ...]
    sampler: Sampler
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    num_sentences: int = 0

    @property
    def fields(self) -> tuple[Field, ...]:
        """The parts that are given."""
        return tuple(part for part in self.parts if isinstance(part, Field))

    def finish(self, text: str) -> str:
        """Returns the answer in a generated text."""
        return first_sentences(strip(text), self.num_sentences)

    def to_dict(self) -> dict[str, Any]:
        """Returns the task for JSON."""
        parts = [{type(part).__name__: dataclasses.asdict(part)} for part in self.parts]
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, "parts": parts, "sampler": dataclasses.asdict(self.sampler)}

    @classmethod
    def from_dict(cls, contents: Mapping[str, Any]) -> Self:
        """Returns the task of a `to_dict` dictionary."""
        classes: dict[str, Any] = {"Literal": Literal, "Field": Field}
        parts = tuple(classes[k](**v) for part in contents["parts"] for k, v in part.items())
        sampler, stop = Sampler(**contents["sampler"]), tuple(contents["stop"])
        return cls(**{**contents, "parts": parts, "sampler": sampler, "stop": stop})


@dataclasses.dataclass(frozen=True)
class TaskOutput:
    """The answer of a task.

    Args:
        text: The answer.
        prompt: What the model read.
        cropped: What was left out of the prompt, as it did not fit; empty if nothing was.
        log_prob: The log-probability of what was generated, in nats, before post-processing.
        generation: What was generated.
    """

    text: str
    prompt: str
    cropped: str
    log_prob: float
    generation: Generation

    def __str__(self) -> str:
        return self.text


def token_limit(model: GPT2Model, given: int | None, usual: int) -> int:
    """Returns a number of new tokens: the given one, or the usual one, at most half the context."""
    if given is None:
        return max(1, min(usual, model.config.context_length // 2))
    return check_integer("max_new_tokens", given, minimum=1)


def run_task(
    model: GPT2Model,
    task: TextTask,
    rows: Sequence[Mapping[str, str]],
    *,
    seed: int | Sequence[int] | None = None,
    context_length: int | None = None,
) -> list[TaskOutput]:
    """Runs a task on several inputs, in one batch.

    Args:
        model: A model with a tokenizer.
        task: The task.
        rows: For each input the texts of the task's fields.
        seed: As for `generate`.
        context_length: Largest number of tokens of prompt and answer; by default the model's.

    Raises:
        TypeError: If a text is no `str`.
        ValueError: If a text that must not be empty is, or one that must not be cropped does
            not fit.
    """
    prompts = [fill(model, task, row, context_length) for row in rows]
    found: list[Generation] = generate_details(
        model,
        [prompt for prompt, _ in prompts],
        max_new_tokens=task.max_new_tokens,
        sampler=task.sampler,
        stop=task.stop,
        seed=seed,
    )
    return [
        TaskOutput(task.finish(each.text), prompt.text, cropped, sum(each.log_probs), each)
        for (prompt, cropped), each in zip(prompts, found, strict=True)
    ]


def fill(
    model: GPT2Model, task: TextTask, row: Mapping[str, str], context_length: int | None = None
) -> tuple[EncodedPrompt, str]:
    """Returns the prompt of an input, and what was cropped to fit.

    A special token in a text is text.
    """
    context = context_length or model.config.context_length
    check_integer("max_new_tokens", task.max_new_tokens, minimum=1, maximum=context - 1)
    tokenizer = model.require_tokenizer().with_special_tokens_policy("none")
    parts, cropped = _encode(tokenizer, task, row), ""
    excess = sum(map(len, parts)) - (context - task.max_new_tokens)
    if excess > 0:
        parts, cropped = _crop(tokenizer, task, row, parts, excess, context)
    ids = tuple(one for part in parts for one in part)
    return EncodedPrompt(ids, tokenizer.decode(ids)), cropped


def _encode(tokenizer: GPT2Tokenizer, task: TextTask, row: Mapping[str, str]) -> list[list[int]]:
    """Returns the ids of each part."""
    texts: list[str] = []
    for part in task.parts:
        if isinstance(part, Literal):
            texts.append((part.separator if any(texts) else "") + part.text)
            continue
        text = strip(check_text(part.name, row.get(part.name, "")))
        if part.required and not text:
            raise ValueError(
                f"{part.name}={row.get(part.name, '')!r:.40} is empty. `{task.name}` needs a text "
                "with at least one character that is no white space."
            )
        texts.append(part.before + text if text else "")
    return tokenizer.encode(texts)


def _crop(
    tokenizer: GPT2Tokenizer,
    task: TextTask,
    row: Mapping[str, str],
    parts: list[list[int]],
    excess: int,
    context: int,
) -> tuple[list[list[int]], str]:
    """Crops the one part that may be, and returns what was left out."""
    index = next((i for i, p in enumerate(task.parts) if isinstance(p, Field) and p.crop), None)
    if index is None or len(parts[index]) < excess:
        sizes = {
            part.name: len(ids)
            for part, ids in zip(task.parts, parts, strict=True)
            if isinstance(part, Field) and not part.crop
        }
        raise ValueError(
            f"The prompt of `{task.name}` has {sum(map(len, parts))} tokens "
            f"({', '.join(f'{name}: {size}' for name, size in sizes.items()) or 'the template'}), "
            f"and max_new_tokens={task.max_new_tokens} of context_length={context} leave room for "
            f"{context - task.max_new_tokens}. Shorten it, or ask for fewer new tokens."
        )
    ids, part = parts[index], task.parts[index]
    room = len(ids) - excess
    if isinstance(part, Field) and part.crop == "turns":
        start = crop_turns(ids, turn_start(tokenizer), room)
        # Encoded again: what stands between two parts depends on whether the first is empty.
        kept = {**row, part.name: tokenizer.decode(ids[start:])}
        return _encode(tokenizer, task, kept), tokenizer.decode(ids[:start])
    return [*parts[:index], ids[:room], *parts[index + 1 :]], tokenizer.decode(ids[room:])
