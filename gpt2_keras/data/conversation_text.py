"""Conversations as text: the roles, and what stands between two turns."""

from collections.abc import Mapping, Sequence
from typing import Any

ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}
SEPARATOR = "\n\n"


def conversation_text(messages: Sequence[Mapping[str, str]]) -> str:
    """Returns the text of a conversation.

    Example:
        >>> conversation_text([{"role": "user", "content": "1 + 1?"},
        ...                    {"role": "assistant", "content": "2"}])
        'User: 1 + 1?\\n\\nAssistant: 2'
    """
    return SEPARATOR.join(f"{ROLES[one['role']]}: {one['content']}" for one in messages)


def check_message(source: str, message: Any) -> None:
    """Raises a ValueError for a message without a known role or without text."""
    is_object = isinstance(message, Mapping)
    role, content = (message.get(name) if is_object else None for name in ("role", "content"))
    if role not in [*ROLES] or not isinstance(content, str):
        raise ValueError(
            f"{source} is {message!r:.120}. Use a `role`, one of {', '.join(ROLES)}, and a text "
            "as its `content`."
        )
