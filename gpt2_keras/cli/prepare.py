"""Turns text files into token shards, which training reads from disk.

A text file (UTF-8) is one document. Of .jsonl, .csv and .parquet files each row
is one: its field `text`, or the first column of a CSV file; a field of messages,
objects with `role` and `content`, is a conversation. Those that end in
.gz, .bz2 or .xz are decompressed. The tokenizer directory holds vocab.json and
merges.txt, or encoder.json and vocab.bpe, or tokenizer.json.

With --teacher the largest logits of a model are stored beside the shards, so that a
student learns from them without it; without a FILE, beside the shards that are there.
What was interrupted is continued.

Example:
  gpt2-keras prepare corpus/*.txt --tokenizer tokenizer --out tokens
  gpt2-keras prepare pages.jsonl.gz --tokenizer tokenizer --out tokens \\
      --deduplicate exact --min-characters 200 --validation-fraction 0.01
  gpt2-keras prepare talks.jsonl --text-field messages --tokenizer tokenizer --out tokens
  gpt2-keras prepare book.txt --teacher run --top-k-logits 32 --out tokens
  gpt2-keras prepare pages/*.parquet --tokenizer tokenizer --out tokens \\
      --runner beam --beam-options="--direct_num_workers=8"
"""

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2_keras.cli.arguments import (
    DEVICE,
    INPUT_FLAGS,
    SPECIAL_TOKENS,
    add_flags,
    integer,
    number,
)
from gpt2_keras.cli.next_command import next_command
from gpt2_keras.cli.quiet import load_tensorflow

if TYPE_CHECKING:
    from gpt2_keras.data.options import PreparationOptions
    from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

HELP = "turn text files into token shards"
_FRACTION = number(0, 1, above=True, below=True)
_DEDUPLICATE = "leave out those that came before: the same text, or nearly so"
_VALIDATION_FRACTION = (
    "of the documents, by the hash of each (default: training takes the last tokens)"
)
_RUNNER = "this process, or an Apache Beam pipeline: the same files (default: %(default)s)"
_BEAM_OPTIONS = 'for Beam, such as --beam-options="--runner=FlinkRunner --flink_master=…"'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="text, or rows of it")
    parser.add_argument(
        "--tokenizer", metavar="DIR", help="directory of its files (with --teacher: its own)"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="directory to make")
    shard_tokens = 100_000_000  # DEFAULT_SHARD_TOKENS, whose module imports NumPy
    add_flags(
        parser,
        (
            "--shard-tokens",
            "N",
            integer(1),
            "tokens in a file (default: %(default)s)",
            shard_tokens,
        ),
        ("--no-end-of-text", None, bool, "put no <|endoftext|> at the end of each document"),
        SPECIAL_TOKENS,
        ("--json", None, bool, "print the result as JSON"),
    )
    add_flags(parser.add_argument_group("input"), *INPUT_FLAGS)
    add_flags(
        parser.add_argument_group("documents"),
        ("--clean", None, bool, "make line ends one, leave out control characters"),
        ("--nfc", None, bool, "compose characters (Unicode's NFC)"),
        ("--min-characters", "N", integer(0), "leave out shorter ones", 0),
        ("--deduplicate", None, ("exact", "near"), _DEDUPLICATE),
        ("--validation-fraction", "FRACTION", _FRACTION, _VALIDATION_FRACTION),
        ("--bpe-dropout", "P", number(0, 1), "leave out merges with this probability", 0.0),
        ("--seed", "N", integer(0), "of the dropout (default: 0)", 0),
    )
    add_flags(
        parser.add_argument_group("runner"),
        ("--runner", None, ("local", "beam"), _RUNNER, "local"),
        ("--beam-options", "WORDS", str, _BEAM_OPTIONS, ""),
    )
    top_k = 32  # gpt2_keras.compression.teacher_logits.TOP_K, whose module imports TensorFlow
    add_flags(
        parser.add_argument_group("a teacher, for `gpt2-keras train --teacher-logits`"),
        ("--teacher", "DIR", str, "model whose largest logits are stored"),
        ("--top-k-logits", "K", integer(1), "logits per token (default: %(default)s)", top_k),
        (
            "--temperature",
            "T",
            number(0, above=True),
            "that of the training (default: %(default)s)",
            2.0,  # gpt2_keras.training.distillation.TEMPERATURE
        ),
        DEVICE,
    )
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> None:
    """Writes the token shards.

    Raises:
        ValueError: If a file is not UTF-8 text or not of its format, no document
            is left, or the tokenizer is damaged.
        OSError: If a file cannot be read, or `--out` is there and not empty.
        ImportError: If Beam or pyarrow is needed and not there.
    """
    if args.beam_options and args.runner != "beam":
        args.usage_error("argument --beam-options: needs --runner beam")
    if args.teacher is None and not (args.files and args.tokenizer):
        args.usage_error("the following arguments are required: FILE, --tokenizer (or --teacher)")
    made = _make_shards(args) if args.files else {}
    if args.teacher is not None:
        made |= _store_teacher_logits(args)
    if args.json:
        print(json.dumps(made))
        return
    words: tuple[Any, ...] = ("--tokenizer", Path(args.tokenizer or args.teacher))
    if args.teacher is not None:
        words = ("--teacher", Path(args.teacher), "--teacher-logits")
    print(f"Next: {next_command('train', '--data', Path(args.out), *words, '--out', 'run')}")


def _make_shards(args: argparse.Namespace) -> dict[str, Any]:
    """Writes the token shards, says so unless JSON is asked for, and returns what it made."""
    from gpt2_keras.data.options import PreparationOptions
    from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

    options = PreparationOptions(
        shard_tokens=args.shard_tokens,
        end_of_text=not args.no_end_of_text,
        input_format=args.input_format,
        text_field=args.text_field,
        clean=args.clean,
        nfc=args.nfc,
        min_characters=args.min_characters,
        deduplicate=args.deduplicate,
        validation_fraction=args.validation_fraction,
        bpe_dropout=args.bpe_dropout,
        seed=args.seed,
        special_tokens=args.special_tokens,
    )
    tokenizer = GPT2Tokenizer.from_directory(args.tokenizer or _model_directory(args.teacher))
    if args.teacher is not None and args.tokenizer is not None:
        theirs = GPT2Tokenizer.from_directory(_model_directory(args.teacher))
        if theirs.fingerprint != tokenizer.fingerprint:
            raise ValueError(
                f"teacher={args.teacher!r} has another tokenizer, with a vocabulary of "
                f"{theirs.vocab_size}, than tokenizer={args.tokenizer!r}, with one of "
                f"{tokenizer.vocab_size}. Leave out --tokenizer."
            )
    index = _prepare(args, tokenizer, options)
    if not args.json:
        _print_result(args, index)
        return {}
    return {
        "data": args.out,
        "num_tokens": index["num_tokens"],
        "num_shards": len(index["shards"]),
        "num_files": len(args.files),
        "documents": index["documents"],
        "split": index.get("split"),
        "dtype": index["dtype"],
        "vocab_size": index["vocab_size"],
        "tokenizer": index["tokenizer"],
    }


def _model_directory(teacher: str) -> Path:
    """Returns the model directory of a teacher, which may be in a run."""
    from gpt2_keras import checkpoints

    return Path(checkpoints.directory_of(teacher))


def _store_teacher_logits(args: argparse.Namespace) -> dict[str, Any]:
    """Stores the teacher's logits beside the shards, and returns what it made."""
    load_tensorflow(args.device)
    from gpt2_keras import GPT2LM
    from gpt2_keras.cli.progress import count_progress
    from gpt2_keras.compression import store_teacher_logits
    from gpt2_keras.data import TokenShards

    shards = TokenShards.open(args.out)
    teacher = GPT2LM.from_preset(args.teacher)
    with count_progress("teacher") as on_progress:
        logits = store_teacher_logits(
            shards,
            teacher,
            top_k=args.top_k_logits,
            temperature=args.temperature,
            on_progress=on_progress,
        )
    if not args.json:
        print(f"the {logits.top_k} largest logits of {args.teacher} for each are beside them")
    return {
        "data": args.out,
        "top_k_logits": logits.top_k,
        "temperature": logits.temperature,
        "teacher": logits.teacher,
    }


def _prepare(
    args: argparse.Namespace, tokenizer: "GPT2Tokenizer", options: "PreparationOptions"
) -> dict[str, Any]:
    """Writes the shards by the chosen runner; returns their index."""
    if args.runner == "beam":
        from gpt2_keras.data.apache_beam.pipeline import prepare_with_beam

        words = shlex.split(args.beam_options)
        return prepare_with_beam(args.files, tokenizer, args.out, options, beam_options=words)
    from gpt2_keras.cli.progress import byte_progress
    from gpt2_keras.data.preparation import prepare

    with byte_progress("preparing") as on_progress:
        return prepare(args.files, tokenizer, args.out, options, on_progress=on_progress).index


def _print_result(args: argparse.Namespace, index: dict[str, Any]) -> None:
    """Prints what was made."""
    print(f"{index['num_tokens']:,} tokens in {len(index['shards'])} shard(s) are in {args.out}")
    documents = index["documents"]
    left_out = [f"{documents[why]:,} {why}" for why in ("duplicates", "short") if documents[why]]
    if left_out:
        print(f"left out: {', '.join(left_out)}")
    if "split" in index:
        training = index["split"]["num_training_tokens"]
        print(
            f"to train on: {documents['training']:,} documents, {training:,} tokens; to validate "
            f"on: {documents['validation']:,} documents, {index['num_tokens'] - training:,} tokens"
        )
