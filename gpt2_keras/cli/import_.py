"""Converts a checkpoint of another system to a model directory.

SRC is a directory of Hugging Face's, of OpenAI's TensorFlow code, a run of
gpt-2-simple, a preset of KerasHub, nanoGPT's ckpt.pt, or a published model:
gpt2, gpt2-medium, gpt2-large, gpt2-xl, hf://owner/name or
kaggle://owner/model/framework/variation. The format is detected by the files.

Example:
  gpt2-keras import checkpoint/run1 --out model
  gpt2-keras generate --model model "Once upon a time"
"""

import argparse
import json
from pathlib import Path

from gpt2_keras.cli.arguments import add_flags, number
from gpt2_keras.cli.next_command import next_command
from gpt2_keras.cli.quiet import load_tensorflow

HELP = "convert a checkpoint of another system to a model directory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("source", metavar="SRC", help="directory, file or published model")
    parser.add_argument("--out", required=True, metavar="DIR", help="model directory to make")
    rate = "dropout rate of further training instead of the checkpoint's"
    add_flags(
        parser,
        ("--tokenizer", "DIR", str, "tokenizer to use instead of the checkpoint's"),
        ("--dropout", "FRACTION", number(0, 1, below=True), rate),
        ("--json", None, bool, "print the result as JSON"),
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from gpt2_keras.atomic import check_output_directory

    check_output_directory(args.out)  # before the work, which may be long
    load_tensorflow()
    from gpt2_keras import GPT2LM

    changes = {} if args.dropout is None else {"dropout_rate": args.dropout}
    model = GPT2LM.from_preset(args.source, tokenizer=args.tokenizer, **changes)
    model.save_to_preset(args.out)
    if args.json:
        result = {
            "model": args.out,
            "num_parameters": model.config.num_parameters,
            "has_tokenizer": model.tokenizer is not None,
            "config": model.config.to_dict(),
        }
        print(json.dumps(result))
        return
    print(f"{model.config.num_parameters:,} parameters are in {args.out}")
    if model.tokenizer is None:
        print("It has no tokenizer: name one with --tokenizer to read and write text.")
    else:
        words = ("--model", Path(args.out), "Once upon a time")
        print(f"Next: {next_command('generate', *words)}")
