"""The command that comes next, as a shell takes it."""

import os
import shlex


def next_command(command: str, *words: str | os.PathLike[str]) -> str:
    """Returns a command line of this program, to print.

    Args:
        command: The command.
        *words: Its options and arguments; paths are quoted where a shell needs it.

    Example:
        >>> next_command("generate", "--model", Path("my model"), "Once upon")
        "gpt2-keras generate --model 'my model' 'Once upon'"
        >>> next_command("generate", "--model", Path("-m"))
        'gpt2-keras generate --model ./-m'
    """
    paths = (
        f"./{word}" if isinstance(word, os.PathLike) and str(word).startswith("-") else str(word)
        for word in words
    )
    return shlex.join(["gpt2-keras", command, *paths])
