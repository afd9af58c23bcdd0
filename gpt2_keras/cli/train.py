"""Trains a model on token shards and keeps it in a run directory.

The best model, by validation loss, is RUN/model; RUN/history.csv and RUN/loss.png
have the losses, RUN/logs is for TensorBoard, RUN/checkpoints the state of the
training. Ctrl-C and SIGTERM end the run after the current step, save it and exit
with 130 or 143; `gpt2-keras train --out RUN --resume` goes on, after those and
after any crash, as if nothing had happened.

Example:
  gpt2-keras prepare book.txt --tokenizer tokenizer --out shards
  gpt2-keras train --data shards --tokenizer tokenizer --out run --steps 2000
"""

import argparse
import contextlib
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt2_keras.atomic import refuse_taken
from gpt2_keras.cli.arguments import integer, number
from gpt2_keras.cli.dry_run import print_estimate
from gpt2_keras.cli.quiet import load_tensorflow
from gpt2_keras.config import SIZES

HELP = "train a model on token shards"
# Flags that are settings of the run: RUN/settings.json has them, so --resume refuses them.
_OWN = {"out", "resume", "skip_batches", "dry_run", "json", "command", "usage_error"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; what is not given has the defaults of `TrainingSettings`."""
    files = parser.add_argument_group("files")
    files.add_argument("--data", metavar="DIR", help="token shards, of `gpt2-keras prepare`")
    files.add_argument("--tokenizer", metavar="DIR", help="the tokenizer that made them")
    files.add_argument("--out", metavar="RUN", required=True, help="the run directory, a new one")
    files.add_argument("--init", metavar="DIR", help="a model to start from")
    files.add_argument("--resume", action="store_true", help="go on with RUN; its settings hold")
    files.add_argument(
        "--skip-batches", type=integer(1), metavar="N", help="with --resume, after a NaN loss"
    )
    shape = parser.add_argument_group("model")
    shape.add_argument("--size", choices=list(SIZES), help="a published shape")
    shape.add_argument("--num-layers", type=integer(1), metavar="N", help="default 4")
    shape.add_argument("--num-heads", type=integer(1), metavar="N", help="default 4")
    shape.add_argument("--hidden-dim", type=integer(1), metavar="N", help="default 256")
    shape.add_argument("--context-length", type=integer(1), metavar="N", help="default 128")
    shape.add_argument(
        "--dropout",
        dest="dropout_rate",
        type=number(0, 1, below=True),
        metavar="SHARE",
        help="default 0.1",
    )
    _add_training_arguments(parser.add_argument_group("training"))
    _add_device_arguments(parser.add_argument_group("devices"))
    _add_saving_arguments(parser.add_argument_group("saving"))
    _add_seeing_arguments(parser.add_argument_group("seeing"))
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what the run will cost: memory, FLOPs, time; write nothing",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(usage_error=parser.error)


def _add_training_arguments(group: Any) -> None:
    """Adds the flags of how to train."""
    count, share = integer(1), number(0, 1, above=True, below=True)
    rate = number(0, above=True)
    group.add_argument("--steps", type=count, metavar="N", help="batches; default 2000")
    group.add_argument("--batch-size", type=count, metavar="N", help="windows a batch; default 16")
    group.add_argument(
        "--learning-rate", type=rate, metavar="RATE", help="the largest; by default by the model"
    )
    group.add_argument("--weight-decay", type=number(0), metavar="RATE", help="default 0.1")
    group.add_argument(
        "--warmup-steps", type=integer(0), metavar="N", help="default a twentieth of the steps"
    )
    group.add_argument("--schedule", choices=("cosine", "linear", "constant"))
    group.add_argument(
        "--final-learning-rate-ratio",
        type=number(0, 1, below=True),
        metavar="SHARE",
        help="of the largest rate, at the last step; default 0.1",
    )
    group.add_argument(
        "--beta-2", type=number(0, 1, below=True), metavar="SHARE", help="of AdamW; default 0.95"
    )
    group.add_argument(
        "--clip-norm",
        type=number(0),
        metavar="NORM",
        help="of the gradients; 0 for none; default 1",
    )
    group.add_argument(
        "--ema", type=share, metavar="SHARE", help="keep averaged weights, such as 0.999"
    )
    group.add_argument("--seed", type=integer(0), metavar="N", help="default 0")
    group.add_argument(
        "--evaluate-every", type=count, metavar="N", help="steps; default a tenth of the steps"
    )
    group.add_argument(
        "--evaluation-batches", type=count, metavar="N", help="default a quarter of the steps"
    )
    group.add_argument(
        "--validation-fraction",
        type=share,
        metavar="SHARE",
        help="the last tokens; default the split of `prepare`, or 0.1",
    )
    group.add_argument(
        "--patience",
        type=integer(0),
        metavar="N",
        help="stop after N evaluations without a better loss; 0 for never; default 5",
    )
    group.add_argument(
        "--document-masking",
        action="store_true",
        default=None,
        help="no token looks behind the end of a document before it",
    )


def _add_device_arguments(group: Any) -> None:
    """Adds the flags of what trains, and of what fits into its memory."""
    group.add_argument("--dtype", choices=("float32", "mixed_bfloat16", "mixed_float16"))
    group.add_argument(
        "--strategy",
        choices=("auto", "none", "mirrored", "multi-worker", "tpu"),
        help="one device, all of this machine, or several machines; see docs/distributed.md",
    )
    group.add_argument(
        "--model-parallel", type=integer(1), metavar="N", help="devices a model, on JAX; default 1"
    )
    group.add_argument(
        "--accumulation-steps",
        type=integer(1),
        metavar="N",
        help="parts of a batch, one after the other: less memory; default 1",
    )
    group.add_argument(
        "--remat",
        action="store_true",
        default=None,
        help="compute activations twice instead of keeping them: less memory",
    )


def _add_saving_arguments(group: Any) -> None:
    """Adds the flags of when the run is saved, beside every evaluation."""
    group.add_argument("--checkpoint-every", type=integer(1), metavar="N", help="steps")
    group.add_argument(
        "--checkpoint-minutes", type=number(0), metavar="N", help="0 for never; default 10"
    )
    group.add_argument(
        "--keep-checkpoints", type=integer(1), metavar="N", help="the last N; default 2"
    )


def _add_seeing_arguments(group: Any) -> None:
    """Adds the flags of what a run shows."""
    group.add_argument(
        "--sample-prompt",
        dest="sample_prompts",
        action="append",
        metavar="TEXT",
        help="text to continue after each evaluation, into RUN/samples.txt; again for another one",
    )
    group.add_argument(
        "--peak-flops",
        type=number(0, above=True),
        metavar="N",
        help="FLOP/s of the hardware, such as 989e12, for mfu; by default known or measured",
    )


def run(args: argparse.Namespace) -> None:
    """Trains, and prints what came of it."""
    given = _settings_given(args)
    load_tensorflow()
    from gpt2_keras import GPT2LM
    from gpt2_keras.runs import RunDirectory, TrainingSettings, resume, train

    if args.dry_run:
        refuse_taken(args.out)
        print_estimate(TrainingSettings(**given), as_json=args.json)
        return
    verbose = 1 if sys.stderr.isatty() else 2
    directory = RunDirectory(Path(args.out))
    # A run that was there before is another one: nothing of this one is kept in it.
    is_own = args.resume or not directory.settings_file.is_file()
    try:
        with contextlib.redirect_stdout(sys.stderr), _plain_warnings():  # where progress belongs
            if args.resume:
                skip = args.skip_batches or 0
                resume(
                    args.out,
                    steps=args.steps,
                    skip_batches=skip,
                    verbose=verbose,
                    model_class=GPT2LM,
                )
            else:
                train(TrainingSettings(**given), args.out, verbose=verbose, model_class=GPT2LM)
    except KeyboardInterrupt as stop:
        if is_own:
            _print_kept(directory, str(stop) or "stopped at once")
        raise
    except (ValueError, OSError):
        if is_own and directory.model.is_dir():
            _print_kept(directory, "stopped by an error")
        raise
    _print_results(directory, as_json=args.json)


def _settings_given(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the flags that are settings; ends with a usage error if some do not fit."""
    given = {
        name: value for name, value in vars(args).items() if name not in _OWN and value is not None
    }
    missing = [f"--{name}" for name in ("data", "tokenizer") if name not in given]
    if missing and not args.resume:
        args.usage_error(f"the following arguments are required: {', '.join(missing)}")
    if args.skip_batches and not args.resume:
        args.usage_error("--skip-batches needs --resume")
    refused = [name.replace("dropout_rate", "dropout") for name in given if name != "steps"]
    if refused and args.resume:
        flags = ", ".join("--" + name.replace("_", "-") for name in refused)
        args.usage_error(
            f"--resume takes every setting from {args.out}/settings.json; remove {flags}, "
            f"or start a new run with --init {args.out}"
        )
    if args.dry_run and args.resume:
        args.usage_error("--dry-run is about a new run; leave out --resume")
    return given


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Prints warnings without the line of code that they come from."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: print(
            f"gpt2-keras train: warning: {message}", file=sys.stderr
        )
        yield


def _print_kept(directory: Any, what: str) -> None:
    """Says what is left of a run that was stopped, and how to go on."""
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
        f"{what}; go on from step {progress.step}: "
        f"gpt2-keras train --out {directory.path} --resume",
        file=sys.stderr,
    )


def _print_results(directory: Any, *, as_json: bool) -> None:
    """Prints the losses, where things are, and what to do next."""
    from gpt2_keras.runs import loss_curve_text

    progress = directory.progress()
    best, last = progress.best, progress.history[-1]
    if as_json:
        places = {name: str(getattr(directory, name)) for name in ("model", "history", "picture")}
        results = {"steps": progress.step, "best": best, "last": last, **places}
        print(json.dumps(results, indent=2))
        return
    curve = loss_curve_text([row["val_loss"] for row in progress.history])
    print(
        f"steps            {progress.step}\n"
        f"validation loss  {best['val_loss']:.3f} at step {best['step']:.0f}"
        f" (perplexity {best['val_perplexity']:.1f})\n"
        f"training loss    {last['loss']:.3f}\n"
        f"curve            {curve}\n"
        f"model            {directory.model}\n"
        f"losses           {directory.history}, {directory.picture}\n"
        f"next             gpt2-keras generate --model {directory.path} 'Once upon a time'"
    )
