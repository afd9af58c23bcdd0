"""Writes a model as an artefact that runs without this package.

savedmodel  OUT/1/, a TensorFlow SavedModel: strings in, strings out. A later
            export into the same OUT gets the next number, as TF Serving wants it
litert      OUT, a .tflite file for devices: tokenizer, model and detokenizer

Example:
  gpt2-keras export --model RUN --format savedmodel --out serving
"""

import argparse
import json

from gpt2_keras.cli.arguments import integer
from gpt2_keras.cli.quiet import load_tensorflow

HELP = "write a SavedModel or a .tflite file"
FORMATS = {"savedmodel": "tf_saved_model", "litert": "litert"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--model", required=True, metavar="DIR", help="model or run directory")
    parser.add_argument("--format", required=True, choices=list(FORMATS))
    parser.add_argument("--out", required=True, metavar="PATH", help="directory, or .tflite file")
    parser.add_argument(
        "--max-new-tokens",
        type=integer(1),
        metavar="N",
        help="tokens a SavedModel adds at most (default: 64, or half a smaller context)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    options = {}
    if args.max_new_tokens is not None:
        if args.format != "savedmodel":
            args.usage_error("argument --max-new-tokens: only a savedmodel has it")
        options["max_new_tokens"] = args.max_new_tokens
    load_tensorflow()
    from gpt2_keras import GPT2LM

    model = GPT2LM.from_preset(args.model)
    made = model.export(args.out, format=FORMATS[args.format], **options)
    if args.json:
        print(json.dumps({"format": args.format, "path": str(made)}))
    else:
        print(f"wrote {made}")
