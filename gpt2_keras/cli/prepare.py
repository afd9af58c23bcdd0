"""Turns text files into token shards, which training reads from disk.

The files are UTF-8 text; those that end in .gz, .bz2 or .xz are decompressed.
Each is one document. The tokenizer directory holds vocab.json and merges.txt,
or encoder.json and vocab.bpe, or tokenizer.json.

Example: gpt2-keras prepare corpus/*.txt --tokenizer tokenizer --out tokens
"""

import argparse
import json

from gpt2_keras.cli.arguments import integer

HELP = "turn text files into token shards"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the words of the command."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="text, a document each")
    parser.add_argument("--tokenizer", required=True, metavar="DIR", help="directory of its files")
    parser.add_argument("--out", required=True, metavar="DIR", help="directory to make")
    parser.add_argument(
        "--shard-tokens",
        type=integer(1),
        default=100_000_000,  # DEFAULT_SHARD_TOKENS, whose module imports NumPy
        metavar="N",
        help="tokens in a file (default: %(default)s)",
    )
    parser.add_argument(
        "--no-end-of-text",
        action="store_true",
        help="put no <|endoftext|> at the end of each document",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> None:
    """Writes the token shards.

    Raises:
        ValueError: If a file is not UTF-8 text, all are empty, or the tokenizer
            is damaged.
        OSError: If a file cannot be read, or `--out` is there and not empty.
    """
    from gpt2_keras.cli.progress import byte_progress
    from gpt2_keras.data.preparation import prepare
    from gpt2_keras.tokenizer.host import GPT2Tokenizer

    tokenizer = GPT2Tokenizer.from_directory(args.tokenizer)
    with byte_progress("preparing") as on_progress:
        tokens = prepare(
            args.files,
            tokenizer,
            args.out,
            shard_tokens=args.shard_tokens,
            end_of_text=not args.no_end_of_text,
            on_progress=on_progress,
        )
    shards = tokens.index["shards"]
    if args.json:
        made = {
            "data": args.out,
            "num_tokens": len(tokens),
            "num_shards": len(shards),
            "num_files": len(args.files),
            "dtype": tokens.index["dtype"],
            "vocab_size": tokens.vocab_size,
            "tokenizer": tokens.fingerprint,
        }
        print(json.dumps(made))
        return
    print(f"{len(tokens):,} tokens in {len(shards)} shard(s) are in {args.out}")
    print(f"Next: gpt2-keras train --data {args.out} --tokenizer {args.tokenizer} --out run")
