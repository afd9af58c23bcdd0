"""Translates texts, by examples of the translation.

--examples has the pairs that say what to translate to what: JSONL of {"source",
"target"}, or CSV or Parquet with these columns. A model trained with `train --task
translate` needs none, and ends its translations itself: --num-sentences 0.

Example:
  gpt2-keras translate --model RUN --examples pairs.jsonl "the cat"
"""

import argparse
from typing import Any

from gpt2_keras.cli.arguments import integer
from gpt2_keras.cli.task_input import (
    add_task_arguments,
    answer_all,
    load_model,
    read_inputs,
    read_pairs,
    sampler_of,
)

HELP = "translate texts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_task_arguments(
        parser,
        "text",
        ("--examples", "FILE", str, "pairs of source and target"),
        ("--num-sentences", "N", integer(0), "that are kept; 0 for all (default: 1)", 1),
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    texts, examples = read_inputs(args), read_pairs(args.examples, ("source", "target"))
    model = load_model(args)
    from gpt2_keras.applications import translate

    def ask(batch: list[str], first: int) -> Any:
        return translate(
            model,
            batch,
            examples=examples,
            max_new_tokens=args.max_new_tokens,
            sampler=sampler_of(args),
            num_sentences=args.num_sentences,
            seed=None if args.seed is None else args.seed + first,
        )

    answer_all(texts, ask, args.json)
