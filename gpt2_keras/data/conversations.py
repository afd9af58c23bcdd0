"""Conversations, `{"messages": [...]}` a row → prompts with their completions.

GPT-2 has no tokens for roles: they are plain text, a blank line between two turns.

    System: Answer in one word.

    User: What is the capital of France?

    Assistant: Paris

Each turn of the assistant is a completion, ` Paris`; its prompt is all that stands
before, up to `Assistant:`, which is what to ask a model with. The completion ends with
the id of `<|endoftext|>`, and so does what the model says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gpt2_keras.data.files import FilePath, format_of
from gpt2_keras.data.rows import read_objects
from gpt2_keras.data.text import check_paths
from gpt2_keras.tokenizer.encoding import without_surrogates

ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}
_ASSISTANT = "assistant"
_BETWEEN = "\n\n"


def read_conversations(
    paths: Iterable[FilePath], *, messages_field: str = "messages"
) -> Iterator[dict[str, str]]:
    """Reads conversations as prompts and completions, one for each turn of the assistant.

    Args:
        paths: JSONL files, which may be compressed. A row has a list of messages,
            objects with the texts `role` (system, user or assistant) and `content`;
            other fields are passed over.
        messages_field: The field with the list.

    Returns:
        Dicts of `prompt` and `completion`, for `make_instruction_dataset`.

    Raises:
        TypeError, FileNotFoundError, IsADirectoryError: If the paths are not files.
        ValueError: If a file is CSV or Parquet by its name. While reading: if a row is
            not of that form, or the assistant says nothing in it. It names file and line.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "a.jsonl"
        >>> _ = file.write_text('{"messages": [{"role": "user", "content": "1 + 1?"},'
        ...                     ' {"role": "assistant", "content": "2"}]}')
        >>> list(read_conversations([file]))
        [{'prompt': 'User: 1 + 1?\\n\\nAssistant:', 'completion': ' 2'}]
    """
    files = check_paths(paths)
    for file in files:
        if format_of(file) not in ("text", "jsonl"):
            raise ValueError(
                f"Conversations are the rows of JSONL files. Received: {file}. "
                "Write a JSON object a line."
            )
    return _examples_of(files, messages_field)


def conversation_prompt(messages: Sequence[Mapping[str, str]]) -> str:
    """Returns the text to ask a model with that was trained on conversations.

    Args:
        messages: Mappings with the texts `role` and `content`, the last of them what
            the assistant is to answer.

    Raises:
        ValueError: If a message is none.

    Example:
        >>> conversation_prompt([{"role": "user", "content": "1 + 1?"}])
        'User: 1 + 1?\\n\\nAssistant:'
    """
    _check_messages(messages, "`messages`")
    turns = [f"{ROLES[one['role']]}: {one['content']}{_BETWEEN}" for one in messages]
    return "".join([*turns, f"{ROLES[_ASSISTANT]}:"])


def _examples_of(files: Iterable[FilePath], field: str) -> Iterator[dict[str, str]]:
    for file in files:
        for number, row in read_objects(file):
            place = f"{file}, line {number}"
            messages = row.get(field)
            if not isinstance(messages, list) or not messages:
                raise ValueError(
                    "Each row has a list of messages in the field that is read. "
                    f"Received: {place}, with {messages!r:.60} in field {field!r}; "
                    f"fields {', '.join(row) or 'none'}. "
                    "Name the field (`messages_field`), or correct the row."
                )
            _check_messages(messages, place)
            if all(message["role"] != _ASSISTANT for message in messages):
                raise ValueError(
                    "The assistant says something in each conversation. "
                    f"Received: {place}, with the roles "
                    f"{', '.join(message['role'] for message in messages)}. Leave the row out."
                )
            for turn, message in enumerate(messages):
                if message["role"] == _ASSISTANT:
                    yield {
                        "prompt": without_surrogates(conversation_prompt(messages[:turn])),
                        "completion": without_surrogates(f" {message['content']}"),
                    }


def _check_messages(messages: Sequence[Any], place: str) -> None:
    """Refuses what is no message."""
    for number, message in enumerate(messages, start=1):
        is_object = isinstance(message, Mapping)
        texts = [message.get(name) if is_object else None for name in ("role", "content")]
        if texts[0] not in [*ROLES] or not isinstance(texts[1], str):
            raise ValueError(
                f"A message has a `role`, one of {', '.join(ROLES)}, and a text as its `content`. "
                f"Received: {place}, message {number}: {message!r:.120}. Correct it."
            )
