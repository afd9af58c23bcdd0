"""Finds the label of texts.

Of a language model the label is the most probable one after the text, calibrated
by texts without content; --examples has pairs that show the task: JSONL of {"text",
"label"}, or CSV or Parquet with these columns. A classifier, which `train --task
classify` makes, has its own labels.

Example:
  gpt2-keras classify --model RUN --label good --label bad "It was a joy."
"""

import argparse
from typing import Any

from gpt2_keras.cli.arguments import text
from gpt2_keras.cli.quiet import load_tensorflow
from gpt2_keras.cli.task_input import (
    add_task_arguments,
    answer_all,
    load_model,
    read_inputs,
    read_pairs,
)

HELP = "find the label of texts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_task_arguments(
        parser,
        "text",
        ("--label", "NAME", [text], "a label; repeat it for each", []),
        ("--examples", "FILE", str, "pairs of text and label"),
        ("--no-calibration", None, bool, "take the probabilities as they are"),
        ("--text-name", "NAME", text, "what stands before a text (default: %(default)s)", "Text"),
        ("--label-name", "NAME", text, "before a label (default: %(default)s)", "Label"),
        sampled=False,
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    texts, examples = read_inputs(args), read_pairs(args.examples, ("text", "label"))
    load_tensorflow(args.device)
    from gpt2_keras.checkpoints import is_classifier

    if is_classifier(args.model):
        _run_classifier(args, texts)
        return
    if not args.label:
        args.usage_error("the following arguments are required: --label")
    model = load_model(args)
    from gpt2_keras.applications import classify

    def ask(batch: list[str], _: int) -> Any:
        return classify(
            model,
            batch,
            args.label,
            examples=examples,
            calibrate=not args.no_calibration,
            text_name=args.text_name,
            label_name=args.label_name,
        )

    answer_all(texts, ask, args.json)


def _run_classifier(args: argparse.Namespace, texts: list[str]) -> None:
    """Finds the labels that a classifier has learned."""
    if args.label or args.examples:
        args.usage_error(
            f"--label and --examples are for a language model, and {args.model} is a classifier, "
            "which has its labels"
        )
    from gpt2_keras.finetuning import GPT2Classifier

    classifier = GPT2Classifier.from_preset(args.model)
    answer_all(texts, lambda batch, _: classifier.classify_details(batch), args.json)
