"""Verifies that an artifact equals its model.

Runs it side by side with the Keras model and compares both with the certificate
that the export wrote. ARTIFACT is the directory of a SavedModel, or a .tflite or
.litertlm file. The exit status is 0 if all is equal, 1 if anything differs.

Example:
  gpt2-keras verify serving/1 --model RUN
"""

import argparse
import json
from typing import Any

from gpt2_keras.cli.arguments import MODEL, SPECIAL_TOKENS, add_flags
from gpt2_keras.cli.quiet import load_tensorflow
from gpt2_keras.cli.table import in_columns

HELP = "verify that an artifact equals its model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "artifact", metavar="ARTIFACT", help="SavedModel, or .tflite or .litertlm file"
    )
    parser.add_argument("--model", **MODEL)
    parser.add_argument(
        "--text",
        metavar="FILE",
        help="text to measure perplexity on (default: documentation inside Python)",
    )
    add_flags(parser, SPECIAL_TOKENS)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> None:
    """Runs the command.

    Raises:
        CertificateError: If anything differs.
    """
    load_tensorflow()
    from gpt2_keras import GPT2LM
    from gpt2_keras.cli.progress import byte_progress
    from gpt2_keras.data import read_texts
    from gpt2_keras.export import CertificateError, verify

    text = None if args.text is None else "".join(read_texts([args.text]))
    model = GPT2LM.from_preset(args.model)
    if model.tokenizer is not None:
        model.tokenizer = model.tokenizer.with_special_tokens_policy(args.special_tokens)
    try:
        with byte_progress("measuring") as on_progress:
            certificate = verify(args.artifact, model, text=text, on_progress=on_progress)
    except CertificateError as error:
        _print_results(args, error.certificate, error.failures)
        raise
    _print_results(args, certificate, ())


def _print_results(args: argparse.Namespace, certificate: Any, failures: tuple[str, ...]) -> None:
    """Prints what was measured, if anything was."""
    if args.json:
        measured = None if certificate is None else json.loads(certificate.to_json())
        result = {"artifact": args.artifact, "passed": not failures, "failures": failures}
        print(json.dumps({**result, "certificate": measured}, indent=2))
        return
    if certificate is not None:
        print(_table(certificate.checks))
    if not failures:
        print(f"{args.artifact} equals the model and its certificate")


def _table(checks: tuple[Any, ...]) -> str:
    """Returns the checks in columns."""
    rows = [("check", "figure", "limit", "ok", "details")]
    for check in checks:
        limit = "-" if check.limit is None else f"{check.limit:.3g}"
        ok = "yes" if check.passed else "NO"
        details = ", ".join(f"{_number(value)} {name}" for name, value in check.details.items())
        rows.append((check.name, f"{check.figure:.3g}", limit, ok, details))
    return in_columns(rows)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
