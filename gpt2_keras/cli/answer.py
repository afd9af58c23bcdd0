"""Answers questions, about a document or from what the model has learned.

--document is the file that the questions are about; of one that does not fit into
the context the end is left out. --examples has earlier questions with their answers:
JSONL of {"question", "answer"}, or CSV or Parquet with these columns.

Example:
  gpt2-keras answer --model RUN --document story.txt "Who sat on the mat?"
"""

import argparse
from typing import Any

from gpt2_keras.cli.task_input import (
    add_task_arguments,
    answer_all,
    load_model,
    read_file,
    read_inputs,
    read_pairs,
    sampler_of,
)

HELP = "answer questions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_task_arguments(
        parser,
        "question",
        ("--document", "FILE", str, "the text that the questions are about"),
        ("--examples", "FILE", str, "earlier questions and answers"),
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    questions, examples = read_inputs(args), read_pairs(args.examples, ("question", "answer"))
    document = "" if args.document is None else read_file(args.document)
    model = load_model(args)
    from gpt2_keras.applications import answer

    def ask(batch: list[str], first: int) -> Any:
        return answer(
            model,
            batch,
            document=document,
            history=examples,
            max_new_tokens=args.max_new_tokens,
            sampler=sampler_of(args),
            seed=None if args.seed is None else args.seed + first,
        )

    answer_all(questions, ask, args.json)
