"""Errors in the words of a command: its flags in place of Python's arguments."""

import re
from collections.abc import Collection

_SCALAR = r"'[^'\n]*'|-?\d+(?:\.\d+)?(?:e-?\d+)?|True"


def with_flags(message: str, names: Collection[str]) -> str:
    """Returns a message with the flags of a command.

    Args:
        message: The message of an error, in which arguments stand as `name=value` or, in
            backquotes, alone.
        names: The arguments that the command has flags for, such as `batch_size`.

    Example:
        >>> with_flags("Use, for example, num_heads=4, or `size`.", ["num_heads", "size"])
        'Use, for example, --num-heads 4, or `--size`.'
        >>> with_flags("Set on_overflow='truncate'.", ["on_overflow"])
        'Set --on-overflow truncate.'
    """
    if not names:
        return message
    name = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    message = re.sub(rf"(?<![\w.`-])({name})=({_SCALAR})(?![\w(\[])", _flag_and_value, message)
    return re.sub(rf"`({name})`", lambda found: f"`{_flag(found[1])}`", message)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _flag_and_value(found: re.Match[str]) -> str:
    name, value = found.groups()
    if value == "True":
        return _flag(name)
    inner = value.strip("'")
    return f"{_flag(name)} {value if not inner or ' ' in inner else inner}"
