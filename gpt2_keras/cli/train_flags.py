"""The flags of `gpt2-keras train` that are settings of the run."""

import argparse
from typing import Any

from gpt2_keras.cli.arguments import APPLICATIONS, add_flags, integer, layers, number, text
from gpt2_keras.config import SIZES

_COUNT, _COUNT_OR_0 = integer(1), integer(0)
_POSITIVE, _NOT_NEGATIVE = number(0, above=True), number(0)
_FRACTION, _FRACTION_OR_0 = number(0, 1, above=True, below=True), number(0, 1, below=True)
_STRATEGIES = ("auto", "none", "mirrored", "multi-worker", "tpu")
# By group, as `add_flags` takes them.
_SETTINGS: dict[str, tuple[tuple[str, str | None, Any, str], ...]] = {
    "files": (
        (
            "--data",
            "PATH",
            str,
            "token shards, made by `gpt2-keras prepare`; or, with --task, a file of examples",
        ),
        (
            "--tokenizer",
            "DIR",
            str,
            "the tokenizer that made them (with --teacher, or --init and --task: its own)",
        ),
        (
            "--task",
            None,
            APPLICATIONS,
            "learn it from examples: JSONL of text and summary, source and "
            "target, question and answer (and document), text and label, or messages",
        ),
        ("--init", "MODEL", str, "model to start from: a directory, or a published one"),
    ),
    "distillation (docs/compression.md)": (
        (
            "--teacher",
            "MODEL",
            str,
            "learn from it besides the text; without --init and a shape, train a student of its "
            "layers",
        ),
        ("--student-layers", "LAYERS", layers, "how many, or a list such as 0,2,4; default half"),
        (
            "--teacher-logits",
            None,
            bool,
            "learn from the logits stored beside the shards, by `gpt2-keras prepare --teacher`",
        ),
        ("--temperature", "T", _POSITIVE, "of the divergence from the teacher; default 2"),
        ("--alpha-ce", "WEIGHT", _NOT_NEGATIVE, "of the divergence; default 0.5"),
        ("--alpha-clm", "WEIGHT", _NOT_NEGATIVE, "of the cross entropy; default 0.5"),
        ("--alpha-cos", "WEIGHT", _NOT_NEGATIVE, "of the last hidden states' distance; default 0"),
    ),
    "model": (
        ("--size", None, tuple(SIZES), "a published size"),
        ("--num-layers", "N", _COUNT, "default 4"),
        ("--num-heads", "N", _COUNT, "default 4"),
        ("--hidden-dim", "N", _COUNT, "default 256"),
        ("--context-length", "N", _COUNT, "default 128; with --init, of the windows alone"),
        ("--dropout", "FRACTION", _FRACTION_OR_0, "default 0.1"),
    ),
    "training": (
        ("--steps", "N", _COUNT, "number of batches; default 2000"),
        ("--batch-size", "N", _COUNT, "windows per batch; default 16"),
        ("--learning-rate", "RATE", _POSITIVE, "the largest; default by the size of the model"),
        ("--weight-decay", "RATE", _NOT_NEGATIVE, "default 0.1"),
        ("--warmup-steps", "N", _COUNT_OR_0, "default a twentieth of the steps"),
        ("--schedule", None, ("cosine", "linear", "constant"), "default cosine"),
        (
            "--final-learning-rate-ratio",
            "FRACTION",
            _FRACTION_OR_0,
            "of the largest learning rate, at the last step; default 0.1",
        ),
        ("--beta-2", "FRACTION", _FRACTION_OR_0, "of AdamW; default 0.95"),
        ("--clip-norm", "NORM", _NOT_NEGATIVE, "of the gradients; 0 for no limit; default 1"),
        ("--ema", "FRACTION", _FRACTION, "decay of a moving average of the weights, such as 0.999"),
        ("--seed", "N", _COUNT_OR_0, "default 0"),
        ("--evaluate-every", "N", _COUNT, "steps; default a tenth of the steps"),
        ("--evaluation-batches", "N", _COUNT, "default a quarter of --evaluate-every"),
        (
            "--validation-fraction",
            "FRACTION",
            _FRACTION,
            "of the tokens, the last ones; default the split of `prepare`, or 0.1",
        ),
        (
            "--patience",
            "N",
            _COUNT_OR_0,
            "stop after N evaluations without a better loss; 0 for never; default 5",
        ),
        ("--document-masking", None, bool, "attention stops at the beginning of a document"),
    ),
    "devices": (
        (
            "--dtype",
            None,
            ("float32", "mixed_bfloat16", "mixed_float16"),
            "of the computation; default float32",
        ),
        (
            "--strategy",
            None,
            _STRATEGIES,
            "one device, all of this machine, or several machines; see docs/distributed.md",
        ),
        ("--model-parallel", "N", _COUNT, "devices per copy of the model, on JAX; default 1"),
        (
            "--accumulation-steps",
            "N",
            _COUNT,
            "micro-batches per batch, one after the other: less memory; default 1",
        ),
        (
            "--remat",
            None,
            (bool, "products"),  # gpt2_keras.layers.remat.PRODUCTS
            "rematerialize activations instead of keeping them: less memory; with products, on "
            "JAX, keep the results of linear maps",
        ),
    ),
    "checkpoints (one is written before every evaluation)": (
        ("--checkpoint-every", "N", _COUNT, "steps between further ones"),
        (
            "--checkpoint-minutes",
            "N",
            _NOT_NEGATIVE,
            "minutes between further ones; 0 for never; default 10",
        ),
        ("--keep-checkpoints", "N", _COUNT, "keep the last N; default 2"),
    ),
    "monitoring": (
        (
            "--sample-prompt",
            "TEXT",
            [text],
            "text to continue after each evaluation, into RUN/samples.txt; may be repeated",
        ),
        (
            "--peak-flops",
            "N",
            _POSITIVE,
            "FLOP/s of the hardware, such as 989e12, for mfu; by default known or measured",
        ),
    ),
}
# Flags whose field of `TrainingSettings` has another name.
_FIELDS = {"--dropout": "dropout_rate", "--sample-prompt": "sample_prompts"}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; those not given have the defaults of `TrainingSettings`."""
    for title, flags in _SETTINGS.items():
        group = parser.add_argument_group(title)
        add_flags(group, *((*flag, None) for flag in flags))


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the values of the flags that were given, by flag."""
    flags = [flag for group in _SETTINGS.values() for flag, *_ in group]
    values = {flag: getattr(args, _destination(flag)) for flag in flags}
    return {flag: value for flag, value in values.items() if value is not None}


def field_of(flag: str) -> str:
    """Returns the name of the field of `TrainingSettings`."""
    return _FIELDS.get(flag, _destination(flag))


def _destination(flag: str) -> str:
    """Returns the name that argparse gives to the value of a flag."""
    return flag.removeprefix("--").replace("-", "_")
