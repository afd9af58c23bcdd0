"""Runs lm-evaluation-harness with this package's models.

What follows is for the harness' own command line, with the back end gpt2-keras
registered, and used unless --model says otherwise: --model_args pretrained=DIR,
saved_model=DIR or tflite=FILE. Its flags: gpt2-keras lm-eval run --help

Example:
  gpt2-keras lm-eval --model_args pretrained=RUN --tasks lambada_openai,wikitext
  gpt2-keras lm-eval --model_args saved_model=serving/1 --tasks hellaswag --limit 100
"""

import argparse
import sys
from typing import Any

from gpt2_keras.cli.quiet import load_tensorflow

HELP = "run lm-evaluation-harness with these models"
# Its flags are those of the harness, which reads them: none is one of this parser's.
PARSER_OPTIONS: dict[str, Any] = {"prefix_chars": "\0", "add_help": False}
_COMMANDS = ("run", "ls", "validate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="of the harness")
    parser.set_defaults(print_help=parser.print_help)


def run(args: argparse.Namespace) -> None:
    """Runs the command.

    Raises:
        ImportError: If lm-evaluation-harness is not installed.
        ValueError: If it does not know a task, or the back end an argument.
    """
    words = list(args.arguments)
    if not words or words in (["-h"], ["--help"]):
        args.print_help()
        raise SystemExit(0)
    try:
        from lm_eval.__main__ import cli_evaluate
        from lm_eval.api.registry import model_registry
    except ImportError as error:
        raise ImportError(
            "lm-eval is not installed, which is lm-evaluation-harness. "
            "Run: pip install 'gpt2-keras[harness]'."
        ) from error
    load_tensorflow()
    from gpt2_keras.evaluation.harness import NAME, TARGET

    if NAME not in model_registry:
        model_registry.register(NAME, target=TARGET)
    if words[0] not in _COMMANDS:
        words.insert(0, "run")
    if words[0] == "run" and not any(word.split("=")[0] in ("--model", "-M") for word in words):
        words[1:1] = ["--model", NAME]
    sys.argv = ["gpt2-keras lm-eval", *words]
    cli_evaluate()
