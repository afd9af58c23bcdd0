"""Writes a model as an artifact that runs without this package.

savedmodel  OUT/1/, a TensorFlow SavedModel: strings in, strings out. A later
            export into the same OUT gets the next number, as TF Serving wants it
litert      OUT, a .tflite file for devices: bytes in, bytes out
litertlm    OUT, a .litertlm bundle for the LiteRT-LM runtime: text in, text out
huggingface, openai, keras-hub, gguf
            OUT, the weights as another system stores them: directories, and a file

The first three are then run side by side with the model, and what was measured is written as their
certificate; `gpt2-keras verify` measures anew.

Example:
  gpt2-keras export --model RUN --format savedmodel --out serving
"""

import argparse
import json

from gpt2_keras.cli.arguments import integer
from gpt2_keras.cli.quiet import load_tensorflow

HELP = "write a SavedModel, a .tflite file, or another system's checkpoint"
FORMATS = {"savedmodel": "tf_saved_model", "litert": "litert", "litertlm": "litertlm"}
# The weights alone, for another system: the functions of `checkpoints` that write them.
CHECKPOINTS = {
    "huggingface": "save",
    "openai": "save_openai",
    "keras-hub": "save_keras_hub",
    "gguf": "save_gguf",
}
DTYPES = ("float32", "float16", "bfloat16", "int8", "int4")
BAD_TEXT = ("refuse", "answer")
# Which flags a format has.
_OPTIONS = {
    "savedmodel": ("max_new_tokens", "dtype", "bad_text", "version"),
    "litert": ("dtype", "context_length"),
    "litertlm": ("dtype", "context_length"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--model", required=True, metavar="DIR", help="model or run directory")
    parser.add_argument("--format", required=True, choices=[*FORMATS, *CHECKPOINTS])
    parser.add_argument("--out", required=True, metavar="PATH", help="directory, or file")
    parser.add_argument(
        "--no-certificate", action="store_true", help="do not compare it with the model"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="how the weights are stored (default: float32)",
    )
    saved = parser.add_argument_group("of a savedmodel")
    saved.add_argument(
        "--max-new-tokens",
        type=integer(1),
        metavar="N",
        help="tokens it adds at most (default: 64, or half a smaller context)",
    )
    saved.add_argument(
        "--bad-text",
        choices=BAD_TEXT,
        help="texts that are empty, no UTF-8 or too long (default: refuse)",
    )
    saved.add_argument(
        "--version", type=integer(1), metavar="N", help="its number (default: the next free one)"
    )
    device = parser.add_argument_group("of a litert or litertlm file")
    device.add_argument(
        "--context-length",
        type=integer(2),
        metavar="N",
        help="tokens that prompt and new text may have in all (default: the model's)",
    )
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> None:
    """Runs the command.

    Raises:
        CertificateError: If the artifact does not equal the model.
    """
    options = {}
    for name in dict.fromkeys(name for names in _OPTIONS.values() for name in names):
        if (value := getattr(args, name)) is None:
            continue
        if name not in _OPTIONS.get(args.format, ()):
            having = " or ".join(each for each in FORMATS if name in _OPTIONS[each])
            args.usage_error(f"argument --{name.replace('_', '-')}: only a {having} has it")
        options[name] = value
    load_tensorflow()
    from gpt2_keras import GPT2LM

    model = GPT2LM.from_preset(args.model)
    certified = not args.no_certificate and args.format in FORMATS
    if args.format in CHECKPOINTS:
        from gpt2_keras import checkpoints

        getattr(checkpoints, CHECKPOINTS[args.format])(model, args.out)
        made = args.out
    else:
        made = model.export(args.out, format=FORMATS[args.format], certificate=certified, **options)
    if args.json:
        result = {"format": args.format, "path": str(made), "certified": certified}
        print(json.dumps(result))
        return
    print(f"wrote {made}")
    if certified:
        from gpt2_keras.export import Certificate

        print(f"certified: {Certificate.read(made).summary}")
