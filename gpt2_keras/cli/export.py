"""Writes a model as an artifact that runs without this package.

tf_saved_model  OUT/1/, a TensorFlow SavedModel: strings in, strings out.
                --version writes another number beside it, for TensorFlow Serving
litert          OUT, a .tflite file for devices: bytes in, bytes out
litertlm        OUT, a .litertlm bundle for the LiteRT-LM runtime: text in, text out
openai, huggingface, keras_hub, gguf
                OUT, the weights in the format of another system: a directory, or a file

The first three are then run side by side with the model, and what was measured is written as
their certificate; `gpt2-keras verify` measures it again.

With --task a SavedModel or .tflite file answers instead: an article in, a summary out.

Example:
  gpt2-keras export --model RUN --format tf_saved_model --out serving
  gpt2-keras export --model RUN --format litert --out summarize.tflite --task summarize
"""

import argparse
import json
from pathlib import Path
from typing import Any

from gpt2_keras.cli.arguments import APPLICATIONS, MODEL, SPECIAL_TOKENS, add_flags, integer, text
from gpt2_keras.cli.export_task import check_task_flags, task_of
from gpt2_keras.cli.quiet import load_tensorflow

HELP = "write a SavedModel, a .tflite file, or another system's checkpoint"
FORMATS = ("tf_saved_model", "litert", "litertlm")
# The weights alone, for another system: the functions of `checkpoints` that write them.
CHECKPOINT_FORMATS = {
    "openai": "save_openai",
    "huggingface": "save",
    "keras_hub": "save_keras_hub",
    "gguf": "save_gguf",
}
DTYPES = ("float32", "float16", "bfloat16", "int8", "int4", "mixed")
ON_INVALID_TEXT = ("error", "accept")
# Which flags a format has.
_OPTIONS = {
    "tf_saved_model": ("max_new_tokens", "dtype", "on_invalid_text", "version", "task"),
    "litert": ("dtype", "context_length", "calibrate", "with_explore", "task"),
    "litertlm": ("dtype", "context_length", "calibrate"),
}
_DEFAULT_VERSION = 1  # a directory of versions is what TensorFlow Serving reads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--model", **MODEL)
    parser.add_argument("--format", required=True, choices=[*FORMATS, *CHECKPOINT_FORMATS])
    parser.add_argument("--out", required=True, metavar="PATH", help="directory, or file")
    add_flags(
        parser,
        ("--no-certificate", None, bool, "do not compare it with the model"),
        ("--json", None, bool, "print the result as JSON"),
        ("--dtype", None, DTYPES, "how the weights are stored (default: float32)"),
        SPECIAL_TOKENS,
    )
    new_tokens = "largest number of tokens to add (default: 64, or half a smaller context)"
    invalid = "what to do with texts that are empty, not UTF-8 or too long (default: error)"
    add_flags(
        parser.add_argument_group("options of tf_saved_model"),
        ("--max-new-tokens", "N", integer(1), new_tokens),
        ("--on-invalid-text", None, ON_INVALID_TEXT, invalid),
        ("--version", "N", integer(1), f"its number: writes OUT/N (default: {_DEFAULT_VERSION})"),
    )
    calibrate = "text by which int8 and int4 are rounded, and mixed (int4 and int8) is chosen"
    context = "largest number of tokens of prompt and new text (default: the model's)"
    add_flags(
        parser.add_argument_group("options of litert and litertlm"),
        ("--context-length", "N", integer(2), context),
        ("--calibrate", "FILE", [Path], f"{calibrate}; may be repeated"),
    )
    explore = "with the signature that the page of export/on_device/web looks inside with"
    add_flags(
        parser.add_argument_group("options of litert"),
        ("--with-explore", None, bool, explore, None),
    )
    add_flags(
        parser.add_argument_group("options of tf_saved_model and litert"),
        ("--task", None, APPLICATIONS, "what it answers to a text"),
        ("--label", "NAME", [text], "of the task classify; repeat it for each", []),
        ("--examples", "FILE", str, "of translate, answer and classify: pairs, as their commands'"),
        ("--system", "TEXT", text, "of chat: what stands before the conversation", ""),
    )
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> None:
    """Runs the command.

    Raises:
        CertificateError: If the artifact does not equal the model.
    """
    options = _options(args)
    check_task_flags(args)
    load_tensorflow()
    from gpt2_keras import GPT2LM

    model = GPT2LM.from_preset(args.model)
    if model.tokenizer is not None:
        model.tokenizer = model.tokenizer.with_special_tokens_policy(args.special_tokens)
    if args.task is not None:
        options["task"] = task_of(model, args)
    certified = not args.no_certificate and args.format in FORMATS
    if args.format in CHECKPOINT_FORMATS:
        from gpt2_keras import checkpoints

        getattr(checkpoints, CHECKPOINT_FORMATS[args.format])(model, args.out)
        path = args.out
    else:
        path = model.export(args.out, format=args.format, certificate=certified, **options)
    if args.json:
        print(json.dumps({"format": args.format, "path": str(path), "certified": certified}))
        return
    print(f"wrote {path}")
    if certified:
        from gpt2_keras.export import Certificate

        print(f"certified: {Certificate.read(path).summary}")


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the options that were given; a usage error for one that the format does not have."""
    known = _OPTIONS.get(args.format, ())
    options: dict[str, Any] = {"version": _DEFAULT_VERSION} if "version" in known else {}
    for name in dict.fromkeys(name for names in _OPTIONS.values() for name in names):
        if (value := getattr(args, name)) is None:
            continue
        if name not in known:
            formats = " and ".join(each for each in FORMATS if name in _OPTIONS[each])
            flag = f"--{name.replace('_', '-')}"
            args.usage_error(f"argument {flag}: not an option of {args.format}, only of {formats}")
        options[name] = value
    return options
