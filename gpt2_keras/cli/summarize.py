"""Summarizes texts.

The model reads the text and TL;DR:, as in the GPT-2 paper, and continues; the first
three sentences are printed. What does not fit into the context is left out, from the
end of the text. A model trained with `train --task summarize` ends its summaries
itself: --num-sentences 0.

Example:
  gpt2-keras summarize --model RUN --file article.txt
"""

import argparse
from typing import Any

from gpt2_keras.cli.arguments import integer, text
from gpt2_keras.cli.task_input import (
    add_task_arguments,
    answer_all,
    load_model,
    read_inputs,
    sampler_of,
)

HELP = "summarize texts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_task_arguments(
        parser,
        "text",
        ("--hint", "TEXT", text, "what stands after the text (default: %(default)s)", "TL;DR:"),
        ("--num-sentences", "N", integer(0), "that are kept; 0 for all (default: 3)", 3),
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    texts = read_inputs(args)
    model = load_model(args)
    from gpt2_keras.applications import summarize

    def ask(batch: list[str], first: int) -> Any:
        return summarize(
            model,
            batch,
            hint=args.hint,
            max_new_tokens=args.max_new_tokens,
            sampler=sampler_of(args),
            num_sentences=args.num_sentences,
            seed=None if args.seed is None else args.seed + first,
        )

    answer_all(texts, ask, args.json)
