"""Trains a model on token shards and keeps it in a run directory.

The best model, by validation loss, is RUN/model; RUN/history.csv and RUN/loss.png
have the losses, RUN/logs is for TensorBoard, RUN/checkpoints has the state of the
training. With --task the data is a file of examples, of which the model learns the
answers; RUN then answers by the command of that name. Ctrl-C and SIGTERM end the run
after the current step, save it and exit with 130 or 143; `gpt2-keras train --out RUN
--resume` continues it, after those and after any crash, as if it had never stopped.

Example:
  gpt2-keras prepare book.txt --tokenizer tokenizer --out shards
  gpt2-keras train --data shards --tokenizer tokenizer --out run --steps 2000
  gpt2-keras train --task summarize --data articles.jsonl --init run --out summaries
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from gpt2_keras.atomic import check_output_directory
from gpt2_keras.cli.arguments import DEVICE, add_flags, integer
from gpt2_keras.cli.dry_run import print_estimate
from gpt2_keras.cli.next_command import next_command
from gpt2_keras.cli.quiet import load_tensorflow
from gpt2_keras.cli.train_flags import add_settings, field_of, given_settings

HELP = "train a model on token shards"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the command and those of its settings."""
    run = parser.add_argument_group("run")
    run.add_argument("--out", metavar="RUN", required=True, help="the run directory, a new one")
    dry_run = "only print what the run will cost: memory, FLOPs, time; write nothing"
    add_flags(
        run,
        ("--resume", None, bool, "continue RUN with its settings"),
        ("--skip-batches", "N", integer(1), "with --resume, after a NaN loss"),
        ("--dry-run", None, bool, dry_run),
        ("--json", None, bool, "print the results as JSON"),
        DEVICE,
    )
    parser.set_defaults(usage_error=parser.error)
    add_settings(parser)


def run(args: argparse.Namespace) -> None:
    """Trains, and prints the results."""
    settings = _checked_settings(args)
    load_tensorflow(args.device)
    from gpt2_keras import GPT2LM
    from gpt2_keras.runs import RunDirectory, TrainingSettings, resume, train

    if _is_classification(args, settings):
        _train_classifier(args, settings)
        return
    if args.dry_run:
        check_output_directory(args.out)
        print_estimate(TrainingSettings(**settings), as_json=args.json)
        return
    verbose = 1 if sys.stderr.isatty() else 2
    directory = RunDirectory(Path(args.out))
    # An earlier run in that directory is not this one, and not what an error is about.
    is_own = args.resume or not directory.settings_file.is_file()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras' progress bar
            if args.resume:
                resume(
                    args.out,
                    steps=args.steps,
                    skip_batches=args.skip_batches or 0,
                    verbose=verbose,
                    model_class=GPT2LM,
                )
            else:
                train(TrainingSettings(**settings), args.out, verbose=verbose, model_class=GPT2LM)
    except KeyboardInterrupt as stop:
        if is_own:
            _print_kept(directory, str(stop) or "stopped at once")
        raise
    except (ValueError, OSError):
        if is_own and directory.model.is_dir():
            _print_kept(directory, "stopped by an error")
        raise
    _print_results(directory, as_json=args.json)


def _is_classification(args: argparse.Namespace, settings: dict[str, Any]) -> bool:
    """Returns whether a run, a new or an old one, trains a classifier."""
    from gpt2_keras.runs import RunDirectory

    if not args.resume:
        return settings.get("task") == "classify"
    return RunDirectory(Path(args.out)).settings().task == "classify"


def _train_classifier(args: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Trains a classifier, and prints its accuracy."""
    if args.dry_run or args.skip_batches or (args.resume and args.steps):
        args.usage_error("--dry-run, --skip-batches and more --steps are not for --task classify")
    from gpt2_keras import GPT2LM
    from gpt2_keras.finetuning import resume_classifier, train_classifier
    from gpt2_keras.finetuning.classifier_run import read_history
    from gpt2_keras.runs import RunDirectory, TrainingSettings

    verbose = 1 if sys.stderr.isatty() else 2
    with contextlib.redirect_stdout(sys.stderr):  # Keras' progress bar
        if args.resume:
            resume_classifier(args.out, model_class=GPT2LM, verbose=verbose)
        else:
            given = TrainingSettings(**settings)
            train_classifier(given, args.out, model_class=GPT2LM, verbose=verbose)
    directory = RunDirectory(Path(args.out))
    rows = read_history(directory)
    best = min(rows, key=lambda row: row["val_loss"])
    if args.json:
        paths = {name: str(getattr(directory, name)) for name in ("model", "history", "loss_plot")}
        print(json.dumps({"best": best, "last": rows[-1], **paths}, indent=2))
        return
    print(
        f"accuracy  {best['val_accuracy']:.1%} at step {best['step']}, validation loss "
        f"{best['val_loss']:.3f}\n"
        f"model     {directory.model}\n"
        f"losses    {directory.history}, {directory.loss_plot}\n"
        "next      " + next_command("classify", "--model", directory.path, "a text")
    )


def _checked_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the given settings by field; ends with a usage error if some do not fit."""
    given = given_settings(args)
    if "--task" in given and "--init" in given:
        given.setdefault("--tokenizer", given["--init"])
    if "--teacher" in given:
        given.setdefault("--tokenizer", given["--teacher"])
    if given.get("--task") == "classify" and "--init" not in given:
        args.usage_error("--task classify needs --init MODEL, to which it adds a head")
    missing = [flag for flag in ("--data", "--tokenizer") if flag not in given]
    if missing and not args.resume:
        args.usage_error(f"the following arguments are required: {', '.join(missing)}")
    if args.skip_batches and not args.resume:
        args.usage_error("--skip-batches needs --resume")
    fixed = [flag for flag in given if flag != "--steps"]
    if fixed and args.resume:
        args.usage_error(
            f"--resume reads every setting from {args.out}/settings.json; remove "
            f"{', '.join(fixed)}, or start a new run with --init {args.out}"
        )
    if args.dry_run and args.resume:
        args.usage_error("--dry-run estimates a new run; leave out --resume")
    return {field_of(flag): value for flag, value in given.items()}


def _print_kept(directory: Any, end: str) -> None:
    """Prints what is kept of a run that was stopped, and how to resume it."""
    if not directory.settings_file.is_file():
        return
    progress = directory.progress()
    if progress.history:
        best = progress.best
        print(
            f"kept: {directory.model}, the best model, of step {best['step']:.0f} "
            f"with validation loss {best['val_loss']:.3f}",
            file=sys.stderr,
        )
    print(
        f"{end}; resume from step {progress.step}: "
        f"{next_command('train', '--out', directory.path, '--resume')}",
        file=sys.stderr,
    )


def _print_results(directory: Any, *, as_json: bool) -> None:
    """Prints the losses, the paths of the results, and a next command."""
    from gpt2_keras.runs import loss_curve_text

    progress = directory.progress()
    best, last = progress.best, progress.history[-1]
    if as_json:
        paths = {name: str(getattr(directory, name)) for name in ("model", "history", "loss_plot")}
        results = {"steps": progress.step, "best": best, "last": last, **paths}
        print(json.dumps(results, indent=2))
        return
    curve = loss_curve_text([row["val_loss"] for row in progress.history])
    task = directory.settings().task
    words = ["Once upon a time"] if task is None else ["a text"] if task != "chat" else []
    print(
        f"steps            {progress.step}\n"
        f"validation loss  {best['val_loss']:.3f} at step {best['step']:.0f}"
        f" (perplexity {best['val_perplexity']:.1f})\n"
        f"training loss    {last['loss']:.3f}\n"
        f"curve            {curve}\n"
        f"model            {directory.model}\n"
        f"losses           {directory.history}, {directory.loss_plot}\n"
        "next             " + next_command(task or "generate", "--model", directory.path, *words)
    )
