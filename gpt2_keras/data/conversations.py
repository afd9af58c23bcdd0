"""Conversations, rows of `{"messages": [...]}`, as prompts and completions.

GPT-2 has no tokens for roles: they are plain text, with an empty line between two turns.

    System: Answer in one word.

    User: What is the capital of France?

    Assistant: Paris

Each turn of the assistant is a completion, ` Paris`; its prompt is all text before it, up to
`Assistant:`, which is also the prompt to generate from. The completion ends with the id of
`<|endoftext|>`, and so does the text that the trained model generates.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpt2_keras.data.conversation_text import ROLES, SEPARATOR, check_message
from gpt2_keras.data.corpus_files import FilePath, check_paths, format_of
from gpt2_keras.data.rows import read_objects
from gpt2_keras.tokenizer.encoding import without_surrogates
from gpt2_keras.validation import check_instance, check_text

_ASSISTANT = "assistant"


def read_conversations(
    paths: Iterable[FilePath], *, messages_field: str = "messages"
) -> Iterator[dict[str, str]]:
    """Reads conversations as prompts and completions, one for each turn of the assistant.

    Args:
        paths: JSONL files, which may be compressed. A row has a list of messages,
            objects with the texts `role` (system, user or assistant) and `content`;
            other fields are ignored.
        messages_field: The field with the list.

    Returns:
        Dicts of `prompt` and `completion`, for `make_instruction_dataset`.

    Raises:
        TypeError, FileNotFoundError, IsADirectoryError: If the paths are not files.
        ValueError: If the name of a file is that of a CSV or Parquet file. While reading: if a
            row is not of that form, or has no turn of the assistant. It names file and line.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "a.jsonl"
        >>> _ = file.write_text('{"messages": [{"role": "user", "content": "1 + 1?"},'
        ...                     ' {"role": "assistant", "content": "2"}]}')
        >>> list(read_conversations([file]))
        [{'prompt': 'User: 1 + 1?\\n\\nAssistant:', 'completion': ' 2'}]
    """
    files = check_paths(paths)
    check_text("messages_field", messages_field)
    for file in files:
        if (found := format_of(file)) not in ("text", "jsonl"):
            raise ValueError(
                f"{file} is a {found} file, and conversations are rows of JSONL files. "
                "Write one JSON object per line."
            )
    return _examples_of(files, messages_field)


def conversation_prompt(messages: Sequence[Mapping[str, str]]) -> str:
    """Returns the prompt for a model that was trained on conversations.

    Args:
        messages: Mappings with the texts `role` and `content`, the last of them the one that
            the assistant is to answer.

    Raises:
        TypeError: If `messages` is not a list of mappings.
        ValueError: If a message has no known role or no text.

    Example:
        >>> conversation_prompt([{"role": "user", "content": "1 + 1?"}])
        'User: 1 + 1?\\n\\nAssistant:'
    """
    check_instance("messages", messages, (list, tuple), "a list of messages")
    for index, message in enumerate(messages):
        check_instance(f"messages[{index}]", message, Mapping, "a dict of role and content")
        check_message(f"messages[{index}]", message)
    return _prompt_of(messages)


def _prompt_of(messages: Sequence[Mapping[str, str]]) -> str:
    turns = [f"{ROLES[one['role']]}: {one['content']}{SEPARATOR}" for one in messages]
    return "".join([*turns, f"{ROLES[_ASSISTANT]}:"])


def _examples_of(files: Iterable[FilePath], field: str) -> Iterator[dict[str, str]]:
    for file in files:
        for number, row in read_objects(file):
            source = f"{file}, line {number},"
            messages = row.get(field)
            if not isinstance(messages, list) or not messages:
                raise ValueError(
                    f"{source} has {messages!r:.60} in field {field!r}, not a list of messages; "
                    f"its fields are {', '.join(row) or 'none'}. "
                    "Name the field (`messages_field`), or correct the row."
                )
            for index, message in enumerate(messages):
                check_message(f"{source} message {index + 1},", message)
            roles = [message["role"] for message in messages]
            if _ASSISTANT not in roles:
                raise ValueError(
                    f"{source} has only the roles {', '.join(roles)}, and no turn of the "
                    "assistant to learn. Leave the row out."
                )
            for turn, message in enumerate(messages):
                if message["role"] == _ASSISTANT:
                    yield {
                        "prompt": without_surrogates(_prompt_of(messages[:turn])),
                        "completion": without_surrogates(f" {message['content']}"),
                    }
