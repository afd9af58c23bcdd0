"""Makes a model smaller: fewer layers, narrower feed-forward networks, fewer tokens.

LAYERS is a number, or a list such as 0,2,4 from 0. With --texts those layers and neurons
are kept that do the most on these texts, and the perplexity of their beginning is printed,
before and after.
--vocabulary keeps the tokens of texts, the bytes and the special tokens: those texts have
as many tokens as before. The result is a model directory like any other; train it, best
with the model as its teacher.

Example:
  gpt2-keras prune --model run --layers 6 --ffn 1536 --texts book.txt --out smaller
  gpt2-keras train --init smaller --teacher run --data tokens --out student
  gpt2-keras prune --model run --vocabulary book.txt --out fewer-tokens
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2_keras.atomic import check_output_directory
from gpt2_keras.cli.arguments import DEVICE, MODEL, add_flags, integer, layers
from gpt2_keras.cli.next_command import next_command
from gpt2_keras.cli.progress import count_progress
from gpt2_keras.cli.quiet import load_tensorflow
from gpt2_keras.cli.table import in_columns

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model

HELP = "make a model smaller"
_EVALUATED_CHARACTERS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--model", **MODEL)
    parser.add_argument("--out", required=True, metavar="DIR", help="the new model directory")
    add_flags(
        parser,
        ("--layers", "LAYERS", layers, "those to keep, or how many"),
        ("--ffn", "N", integer(1), "neurons to keep in each feed-forward network"),
    )
    parser.add_argument(
        "--vocabulary", nargs="+", metavar="FILE", help="texts whose tokens are kept"
    )
    parser.add_argument(
        "--texts", nargs="+", metavar="FILE", help="texts to measure importance and loss on"
    )
    add_flags(parser, ("--json", None, bool, "print the result as JSON"), DEVICE)
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> None:
    """Writes the smaller model, and prints both sizes.

    Raises:
        ValueError: If a layer is not there, there are fewer neurons, or a text has no token.
        FileNotFoundError: If a file or the model does not exist.
        FileExistsError: If `--out` is not empty.
    """
    if args.layers is None and args.ffn is None and args.vocabulary is None:
        args.usage_error("name --layers, --ffn or --vocabulary: there is nothing to prune")
    check_output_directory(args.out)
    from gpt2_keras.data.corpus_files import check_paths

    vocabulary, texts = (
        None if names is None else check_paths(names) for names in (args.vocabulary, args.texts)
    )
    load_tensorflow(args.device)
    from gpt2_keras import GPT2LM
    from gpt2_keras.compression import prune

    model = GPT2LM.from_preset(args.model)
    with count_progress("importance") as on_progress:
        smaller = prune(
            model,
            layers=args.layers,
            intermediate_dim=args.ffn,
            vocabulary=vocabulary,
            texts=texts,
            on_progress=on_progress,
        )
    smaller.save_to_preset(args.out)
    sample = None if texts is None else _beginning(texts)
    rows = [_row(args.model, model, sample), _row(args.out, smaller, sample)]
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print(in_columns([list(rows[0]), *(list(map(_cell, row.values())) for row in rows)]))
    words: tuple[Any, ...] = ("--init", Path(args.out), "--data", "tokens", "--out", "run")
    if args.vocabulary is None:
        words += ("--teacher", Path(args.model))
    else:
        words += ("--tokenizer", Path(args.out))
    print(f"Next: {next_command('train', *words)}")


def _beginning(files: Sequence[Path]) -> str:
    """Returns the first characters of texts, enough for a perplexity to go by."""
    from gpt2_keras.data.given_texts import documents_of

    texts = (document for file in files for document in documents_of(file))
    return "\n".join(text[:_EVALUATED_CHARACTERS] for text in texts)[:_EVALUATED_CHARACTERS]


def _row(name: str, model: "GPT2Model", text: str | None) -> dict[str, Any]:
    """Returns the figures of a model."""
    config = model.config
    row = {
        "model": name,
        "layers": config.num_layers,
        "ffn": config.feed_forward_dim,
        "vocabulary": config.vocab_size,
        "parameters": config.num_parameters,
    }
    if text is not None:
        from gpt2_keras.evaluation import evaluate

        with count_progress("perplexity") as on_progress:
            total = evaluate(model, text, on_progress=on_progress).total
        # Per word and per byte: a smaller vocabulary may have other tokens.
        row |= {"word perplexity": total.word_perplexity, "bits per byte": total.bits_per_byte}
    return row


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
