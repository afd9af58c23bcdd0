"""Measures how well models predict texts, and zero-shot tasks.

FILE is UTF-8 text, plain or compressed. Each of its tokens is scored once, in
sliding windows: perplexity per token and per word, bits per byte, and top-1 and
top-5 accuracy. --last-word takes JSONL of {"text"}; --multiple-choice JSONL of
{"context", "choices", "label"}. --task measures a published task on its own files,
by a published protocol, and prints what was published; or an application on the
examples that `train --task` takes. Each table ends with its
protocol: only figures of one protocol can be compared.

Example:
  gpt2-keras evaluate book.txt --model RUN
  gpt2-keras evaluate wiki.test.tokens --detokenizer wikitext --model RUN --model gpt2
  gpt2-keras evaluate --task lambada-openai --data lambada_test.jsonl --model gpt2
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from gpt2_keras.cli.arguments import DEVICE, add_flags, integer
from gpt2_keras.cli.quiet import load_tensorflow
from gpt2_keras.cli.table import in_columns
from gpt2_keras.cli.task_table import task_rows, task_table
from gpt2_keras.devices import current_device, warn_of_unused_gpu
from gpt2_keras.evaluation.detokenizers import DETOKENIZERS
from gpt2_keras.evaluation.protocols import APPLICATION_PROTOCOLS as APPLICATIONS
from gpt2_keras.evaluation.protocols import PROTOCOL_NAMES, find_protocol
from gpt2_keras.evaluation.protocols import TASKS as PUBLISHED

HELP = "measure how well models predict texts"
TASKS = ("last_word", "multiple_choice")
_PROTOCOL = f"{', '.join(PROTOCOL_NAMES)}; repeat it for several (default: the task's first one)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="text to predict")
    parser.add_argument(
        "--model",
        dest="models",
        action="append",
        required=True,
        metavar="DIR",
        help="model or run directory; repeat it for several",
    )
    per_batch = "windows in a batch; changes results by rounding only (default: by their memory)"
    original = "turns the text of a data set back into ordinary text (default: %(default)s)"
    between = "tokens from one window to the next (default: half the context)"
    add_flags(
        parser,
        ("--stride", "N", integer(1), between),
        ("--batch-size", "N", integer(1), per_batch),
        ("--detokenizer", "NAME", DETOKENIZERS, original, "none"),
        ("--last-word", "FILE", [str], "passages, JSONL", []),
        ("--multiple-choice", "FILE", [str], "questions, JSONL", []),
        ("--task", "NAME", (*PUBLISHED, *APPLICATIONS), "published, or of an application"),
        (
            "--protocol",
            "NAME",
            [str],
            _PROTOCOL,
            [],
        ),
        ("--out", "FILE", _table_file, "also write the results to a .json or .csv file"),
        ("--json", None, bool, "print the results as JSON"),
        DEVICE,
    )
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="FILE", help="the files of the task"
    )
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> None:
    """Runs the command.

    Raises:
        ValueError: If a text is too short or not UTF-8, or an example is damaged.
        FileNotFoundError: If a file or a model does not exist.
    """
    named = [*args.files, *args.last_word, *args.multiple_choice, *args.data]
    if not named:
        args.usage_error("name a FILE, --last-word FILE, --multiple-choice FILE or --task")
    _check_task(args)
    from gpt2_keras.data.corpus_files import check_paths

    check_paths(named)  # before the models are loaded, which takes longer
    load_tensorflow(args.device)
    warn_of_unused_gpu(current_device())
    results = [_evaluate(name, args) for name in args.models]
    if args.out is not None:
        _write(args.out, results)
    print(json.dumps(results, indent=2, ensure_ascii=False) if args.json else _text(results))


def _table_file(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".json", ".csv"):
        raise argparse.ArgumentTypeError(f"expected a name that ends in .json or .csv, got {text}")
    return path


def _evaluate(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Returns the results of one model as a plain dictionary."""
    from gpt2_keras import GPT2LM, evaluation
    from gpt2_keras.cli.progress import count_progress

    model = GPT2LM.from_preset(name)
    found: dict[str, Any] = {"model": name}
    if args.files:
        with count_progress("tokens") as on_progress:
            report = evaluation.evaluate(
                model,
                [Path(file) for file in args.files],
                stride=args.stride,
                batch_size=args.batch_size,
                detokenizer=args.detokenizer,
                on_progress=on_progress,
            )
        found.update(report.to_dict())
    for task in TASKS:
        for file in getattr(args, task):
            with count_progress(task.replace("_", " ")) as on_progress:
                measure = getattr(evaluation, task)
                result = measure(model, file, batch_size=args.batch_size, on_progress=on_progress)
            found.setdefault(task, []).append(result.to_dict())
    options = {"batch_size": args.batch_size}
    for file in args.data if args.task in APPLICATIONS else ():
        with count_progress("examples") as on_progress:
            application = evaluation.evaluate_application(
                model, args.task, file, **options, on_progress=on_progress
            )
        found.setdefault("task", []).append(application.to_dict())
    for protocol in (args.protocol or [None]) if args.task in PUBLISHED else ():
        with count_progress(args.task) as on_progress:
            measured = evaluation.evaluate_task(
                model,
                args.task,
                args.data,
                protocol=protocol,
                **options,
                on_progress=on_progress,
            )
        found.setdefault("task", []).append(measured.to_dict())
    return found


def _check_task(args: argparse.Namespace) -> None:
    """Ends with a usage error if the flags of a task do not fit."""
    if bool(args.task) != bool(args.data):
        args.usage_error("--task NAME and --data FILE belong together; name both")
    if args.protocol and not args.task:
        args.usage_error("--protocol is of a --task; name one")
    if args.task in APPLICATIONS and args.protocol:
        args.usage_error(f"--protocol is not for --task {args.task}, which has one; leave it out")
    if args.task not in PUBLISHED:
        return
    try:
        for name in args.protocol:
            find_protocol(args.task, name)
    except ValueError as error:
        args.usage_error(str(error))


def _rows(results: list[dict[str, Any]], measure: str) -> list[dict[str, Any]]:
    """Returns a row for each model and file, and for all texts together."""
    rows = []
    for found in results:
        entries = [*found.get(measure, [])]
        if measure == "texts" and len(entries) > 1:
            entries.append(found["total"])
        rows += [{"model": found["model"], **entry} for entry in entries]
    return rows


def _write(path: Path, results: list[dict[str, Any]]) -> None:
    """Writes the results as JSON, or as CSV with one line per model and file."""
    from gpt2_keras.atomic import new_file

    with new_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".json":
            file.write(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
            return
        rows = []
        for measure in ("texts", *TASKS):
            for row in _rows(results, measure):
                rows.append({"kind": measure.removesuffix("s"), **row})
        rows += [{"kind": "task", **row} for row in task_rows(results)]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer: Any = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


# Heading, field, and format of its number.
_COLUMNS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "texts": (
        ("tokens", "num_tokens", ",d"),
        ("words", "num_words", ",d"),
        ("bytes", "num_bytes", ",d"),
        ("perplexity", "perplexity", ",.3f"),
        ("±", "perplexity_standard_error", ",.3f"),
        ("per word", "word_perplexity", ",.2f"),
        ("with lines", "word_and_line_perplexity", ",.2f"),
        ("bits/byte", "bits_per_byte", ".4f"),
        ("top 1", "accuracy", ".1%"),
        ("top 5", "top_5_accuracy", ".1%"),
    ),
    "last_word": (
        ("passages", "num_examples", ",d"),
        ("right words", "accuracy", ".1%"),
        ("±", "accuracy_standard_error", ".1%"),
        ("perplexity per word", "perplexity", ",.2f"),
    ),
    "multiple_choice": (
        ("questions", "num_examples", ",d"),
        ("right choices", "accuracy", ".1%"),
        ("±", "accuracy_standard_error", ".1%"),
        ("by token", "accuracy_by_token", ".1%"),
        ("by byte", "accuracy_by_byte", ".1%"),
    ),
}


def _text(results: list[dict[str, Any]]) -> str:
    """Returns a table for each measure, and the protocols."""
    parts = []
    for measure, columns in _COLUMNS.items():
        rows = [
            [row["model"], row["name"], *(_cell(row[field], spec) for _, field, spec in columns)]
            for row in _rows(results, measure)
        ]
        if rows:
            head = ["model", "text", *(heading for heading, _, _ in columns)]
            parts.append(in_columns([head, *rows], right=range(2, len(head))))
    protocols = [found["protocol"]["text"] for found in results if "protocol" in found]
    if protocols:
        parts.append("\n".join(dict.fromkeys(protocols)))
    if any("task" in found for found in results):
        parts.append(task_table(results))
    return "\n\n".join(parts)


def _cell(value: Any, format_spec: str) -> str:
    return "-" if value is None else format(value, format_spec)
