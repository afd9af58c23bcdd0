"""What the commands of the applications share: texts in, settings, answers out."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gpt2_keras.cli.arguments import DEVICE, MODEL, SAMPLING, SEED, add_flags, integer, text
from gpt2_keras.cli.quiet import load_tensorflow
from gpt2_keras.devices import current_device, warn_of_unused_gpu

_BATCH_SIZE = 8  # texts that are answered together


def add_task_arguments(
    parser: argparse.ArgumentParser, name: str, *flags: tuple[Any, ...], sampled: bool = True
) -> None:
    """Declares the texts, the model and the flags that all of these commands have.

    Args:
        parser: The parser.
        name: What a text is called.
        *flags: Further flags, as `add_flags` takes them.
        sampled: Whether the answer is generated.
    """
    parser.add_argument("texts", nargs="*", type=text, metavar=name.upper(), help=f"the {name}")
    parser.add_argument("--model", **MODEL)
    read = f"a UTF-8 file with one {name}; may be repeated (default: standard input)"
    tokens = ("--max-new-tokens", "N", integer(1), "largest number of tokens of the answer")
    generated = (tokens, *SAMPLING, SEED) if sampled else ()
    as_json = ("--json", None, bool, "print a JSON list, with prompts and log-probabilities")
    add_flags(parser, ("--file", "FILE", [str], read, []), *flags, *generated, DEVICE, as_json)
    parser.set_defaults(usage_error=parser.error)


def read_inputs(args: argparse.Namespace) -> list[str]:
    """Returns the texts: the words of the command, then the files, else standard input.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If one is not UTF-8.
    """
    files = [read_file(name) for name in args.file]
    if args.texts or files:
        return [*args.texts, *files]
    if sys.stdin.isatty():
        args.usage_error("name a text, or --file FILE, or send one to standard input")
    return [sys.stdin.buffer.read().decode("utf-8", errors="replace")]


def read_file(name: str) -> str:
    """Returns the text of a file; raises as `read_inputs` does."""
    from gpt2_keras.data.corpus_files import check_paths
    from gpt2_keras.data.text_files import read_chunks

    (path,) = check_paths([name])
    return "".join(read_chunks(path))


def read_pairs(name: str | None, fields: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the pairs of a JSONL, CSV or Parquet file; none without a file.

    Raises:
        FileNotFoundError, ValueError: If the file does not exist, or a row lacks a field.
    """
    if name is None:
        return []
    from gpt2_keras.data.corpus_files import check_paths, format_of
    from gpt2_keras.data.rows import read_rows

    (path,) = check_paths([name])
    found = format_of(path)
    named = {field: field for field in fields}
    rows = read_rows(path, "jsonl" if found == "text" else found, named, or_format="")
    return [(first, second) for first, second in rows]


def load_model(args: argparse.Namespace) -> Any:
    """Returns the model."""
    load_tensorflow(args.device)
    warn_of_unused_gpu(current_device())
    from gpt2_keras import GPT2LM

    return GPT2LM.from_preset(args.model)


def sampler_of(args: argparse.Namespace) -> Any:
    """Returns the sampler that the flags ask for; None if they ask for none."""
    from gpt2_keras.generation import Sampler

    names = ("temperature", "top_k", "top_p")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return Sampler(**given) if given else None


def answer_all(
    texts: Sequence[str], ask: Callable[[list[str], int], Sequence[Any]], as_json: bool
) -> None:
    """Prints the answer of each text, with its progress on the error stream.

    Args:
        texts: The texts.
        ask: Answers a few of them; takes these and the index of the first.
        as_json: Whether to print a JSON list.
    """
    from gpt2_keras.cli.progress import count_progress

    rows: list[dict[str, Any]] = []
    with count_progress("texts") as on_progress:
        for start in range(0, len(texts), _BATCH_SIZE):
            batch = list(texts[start : start + _BATCH_SIZE])
            for index, output in enumerate(ask(batch, start), start):
                rows.append(_row(output))
                if output.cropped:
                    print(_cropped(index, output.cropped), file=sys.stderr)
                if not as_json:
                    print(output, flush=True)
            if len(texts) > _BATCH_SIZE:
                on_progress(len(rows), len(texts))
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))


def _row(output: Any) -> dict[str, Any]:
    """Returns the fields of an answer for JSON."""
    names = ("text", "label", "probabilities", "prompt", "cropped", "log_prob")
    return {name: getattr(output, name) for name in names if hasattr(output, name)}


def _cropped(index: int, cropped: str) -> str:
    return (
        f"text {index + 1}: {len(cropped)} characters did not fit into the context and were left "
        f"out: {cropped[:40]!r}…"
    )
