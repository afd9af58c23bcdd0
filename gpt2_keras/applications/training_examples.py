"""Examples of a task as prompts and completions: what the task reads, and what it should say."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from gpt2_keras.applications.answer import answer_task
from gpt2_keras.applications.post_processing import strip
from gpt2_keras.applications.summarize import summary_task
from gpt2_keras.applications.task_rows import FIELDS, TaskRows
from gpt2_keras.applications.text_task import TextTask, fill
from gpt2_keras.applications.translate import translation_task
from gpt2_keras.applications.turns import crop_turns, turn_start
from gpt2_keras.data.conversation_text import ROLES, SEPARATOR, conversation_text
from gpt2_keras.model import GPT2Model

Example = dict[str, list[int]]
_MAKERS: dict[str, Any] = {
    "summarize": summary_task,
    "translate": translation_task,
    "answer": answer_task,
}
# Where the field of a row has another name in the prompt.
_RENAMED = {"source": "text"}


def training_examples(model: GPT2Model, rows: TaskRows, context_length: int) -> list[Example]:
    """Returns the prompt and the completion of each row, for `make_instruction_dataset`.

    The prompt is that of the task, cropped as the task crops it, with room for the completion.

    Args:
        model: A model with a tokenizer.
        rows: The rows of a task from text to text.
        context_length: Largest number of tokens of a prompt with its completion.

    Returns:
        Dicts of the ids of `prompt` and `completion`; of a conversation one for each turn of the
        assistant.

    Raises:
        ValueError: If a completion has more tokens than half the context, or a prompt that is not
            to be cropped does not fit. It names file and line.
    """
    if rows.task == "chat":
        return [
            example
            for source, row in rows.rows
            for example in _turns(model, source, row["messages"], context_length)
        ]
    task: TextTask = _MAKERS[rows.task](model, max_new_tokens=1)
    return [_example(model, task, source, row, context_length) for source, row in rows.rows]


def _example(
    model: GPT2Model, task: TextTask, source: str, row: dict[str, Any], context_length: int
) -> Example:
    learned = FIELDS[task.name][-1]
    completion = _completion(model, source, row[learned], context_length)
    named = {_RENAMED.get(name, name): text for name, text in row.items() if name != learned}
    fitted = dataclasses.replace(task, max_new_tokens=len(completion))
    try:
        prompt, _ = fill(model, fitted, named, context_length)
    except ValueError as error:
        raise ValueError(f"{source} {error}") from error
    return {"prompt": list(prompt.token_ids), "completion": completion}


def _turns(
    model: GPT2Model, source: str, messages: list[dict[str, str]], context_length: int
) -> Iterator[Example]:
    """Yields an example for each turn of the assistant, cropped as `Chat` crops it."""
    tokenizer = model.require_tokenizer().with_special_tokens_policy("none")
    messages = [{**message, "content": strip(message["content"])} for message in messages]
    first = 1 if messages[0]["role"] == "system" else 0
    system = conversation_text(messages[:first])  # stays
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        completion = _completion(model, source, message["content"], context_length)
        said = conversation_text(messages[first:index])
        earlier, separator, asked = said.rpartition(f"{SEPARATOR}{ROLES['user']}:")
        # What is asked last is never cropped.
        last = _joined(f"{separator}{asked}".removeprefix(SEPARATOR), f"{ROLES['assistant']}:")
        room = context_length - len(completion)
        prompt = tokenizer.encode(_joined(system, earlier, last))
        if len(prompt) > room:
            rest = len(tokenizer.encode(_joined(system, last)))
            if rest > room:
                raise ValueError(
                    f"{source} message {index}, has {rest} tokens with its template, and "
                    f"context_length={context_length} leaves room for {room}. Shorten it, or leave "
                    "the row out."
                )
            ids = tokenizer.encode(earlier)
            kept = ids[crop_turns(ids, turn_start(tokenizer), room - rest) :]
            prompt = tokenizer.encode(_joined(system, strip(tokenizer.decode(kept)), last))
        yield {"prompt": prompt, "completion": completion}


def _joined(*texts: str) -> str:
    return SEPARATOR.join(text for text in texts if text)


def _completion(model: GPT2Model, source: str, text: str, context_length: int) -> list[int]:
    """Returns the ids of what is to be learned, with the space before it."""
    tokenizer = model.require_tokenizer().with_special_tokens_policy("none")
    ids = tokenizer.encode(f" {strip(text)}")
    if len(ids) > context_length // 2:
        raise ValueError(
            f"{source} has {len(ids)} tokens to learn, more than half of context_length="
            f"{context_length}. Shorten {text[:40]!r}, or leave the row out."
        )
    return ids
