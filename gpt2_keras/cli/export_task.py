"""The flags of `gpt2-keras export` that make a task."""

import argparse
from typing import Any

from gpt2_keras.cli.task_input import read_pairs

# The fields of the pairs of --examples, by task.
_PAIRS = {
    "translate": ("source", "target"),
    "answer": ("question", "answer"),
    "classify": ("text", "label"),
}


def check_task_flags(args: argparse.Namespace) -> None:
    """Ends with a usage error if flags of a task do not fit; raises for a missing file."""
    fitting = {
        "label": ("classify",),
        "examples": tuple(_PAIRS),
        "system": ("chat",),
    }
    for name, tasks in fitting.items():
        if getattr(args, name) and args.task not in tasks:
            args.usage_error(f"argument --{name}: only of --task {' or '.join(tasks)}")
    if args.task == "classify" and not args.label:
        args.usage_error("--task classify needs --label NAME, at least two of them")
    if args.examples is not None:
        from gpt2_keras.data.corpus_files import check_paths

        check_paths([args.examples])  # before the model is loaded, which takes longer


def task_of(model: Any, args: argparse.Namespace) -> Any:
    """Returns the task that the flags describe."""
    from gpt2_keras import applications

    pairs = read_pairs(args.examples, _PAIRS.get(args.task, ()))
    if args.task == "classify":
        return applications.classification_task(model, args.label, examples=pairs)
    if args.task == "translate":
        return applications.translation_task(model, examples=pairs)
    if args.task == "answer":
        return applications.answer_task(model, history=pairs)
    if args.task == "chat":
        return applications.chat_task(model, system=args.system)
    return applications.summary_task(model)
