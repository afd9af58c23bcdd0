"""The `gpt2-keras` program."""

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence

from gpt2_keras.cli.flag_names import with_flags
from gpt2_keras.version import __version__

# Each is a module of this folder with HELP, add_arguments(parser) and run(args).
COMMANDS = (
    "tokenizer",
    "prepare",
    "train",
    "evaluate",
    "lm-eval",
    "generate",
    "summarize",
    "translate",
    "answer",
    "classify",
    "chat",
    "import",
    "prune",
    "export",
    "verify",
    "explore",
    "demo",
)

EXIT_DONE, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The words after the program's name; by default those of the
            process.

    Returns:
        The exit status: 0 done, 1 failed, 130 interrupted (Ctrl-C), 143 terminated
        (SIGTERM). A wrong usage ends the process with 2, as `argparse` does.
    """
    args = _parser().parse_args(arguments)
    # Must be set before TensorFlow is imported; its start-up lines say nothing to a user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal or a locale without UTF-8 gets escapes, as Python's stderr does.
        sys.stdout.reconfigure(errors="backslashreplace")
    command = _command(args.command)
    try:
        with _plain_warnings(args.command):
            command.run(args)
    except KeyboardInterrupt as stop:
        print(f"gpt2-keras {args.command}: interrupted", file=sys.stderr)
        # A shell's status of a process that a signal has ended.
        return 128 + getattr(stop, "number", signal.SIGINT)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); nothing more can be written to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        message = with_flags(str(error), vars(args))
        print(f"gpt2-keras {args.command}: error: {message}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_DONE


@contextlib.contextmanager
def _plain_warnings(command: str) -> Iterator[None]:
    """Prints warnings to stderr without the line of code that they come from."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: print(
            f"gpt2-keras {command}: warning: {message}", file=sys.stderr
        )
        yield


def _parser() -> argparse.ArgumentParser:
    """Builds the parser of every command; nothing heavy is imported for it."""
    parser = argparse.ArgumentParser(
        prog="gpt2-keras",
        description="Train GPT-2 in Keras and ship it as text in, text out.",
        epilog="Example: gpt2-keras demo --out demo",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = _command(name)
        subparser = commands.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **getattr(module, "PARSER_OPTIONS", {}),
        )
        module.add_arguments(subparser)
    return parser


def _command(name: str):  # type: ignore[no-untyped-def]  # a module
    module = "import_" if name == "import" else name.replace("-", "_")  # a keyword of Python's
    return importlib.import_module(f"gpt2_keras.cli.{module}")


if __name__ == "__main__":
    sys.exit(main())
