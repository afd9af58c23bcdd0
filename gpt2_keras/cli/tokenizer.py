"""Learns a byte-level BPE vocabulary from text files, as GPT-2's was learned.

The files are as for `gpt2-keras prepare`: UTF-8 text, or rows of .jsonl, .csv and
.parquet files; those that end in .gz, .bz2 or .xz are decompressed.
The output directory gets Hugging Face's files: vocab.json, merges.txt,
tokenizer.json and tokenizer_config.json.

Example: gpt2-keras tokenizer corpus/*.txt --vocab-size 4096 --out tokenizer
"""

import argparse
import json
from pathlib import Path

from gpt2_keras.cli.arguments import INPUT_FLAGS, add_flags, integer
from gpt2_keras.cli.next_command import next_command

HELP = "learn a vocabulary from text files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="text to learn from")
    parser.add_argument(
        "--vocab-size",
        type=integer(257),
        required=True,
        metavar="N",
        help="number of tokens, 257 or more: the 256 bytes, the merges and <|endoftext|>",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="directory to write into")
    add_flags(
        parser,
        ("--overwrite", None, bool, "replace the files of another tokenizer in DIR"),
        *INPUT_FLAGS,
        ("--json", None, bool, "print the result as JSON"),
    )


def run(args: argparse.Namespace) -> None:
    """Trains a tokenizer and saves it.

    Raises:
        ValueError: If a file is not UTF-8 text, or all are empty.
        OSError: If a file cannot be read, or the directory has the files of
            another tokenizer.
    """
    from gpt2_keras.cli.progress import byte_progress
    from gpt2_keras.data import read_texts
    from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

    with byte_progress("reading") as on_progress:
        texts = read_texts(
            args.files,
            input_format=args.input_format,
            text_field=args.text_field,
            on_progress=on_progress,
        )
        tokenizer = GPT2Tokenizer.train(texts, args.vocab_size)
    tokenizer.save(args.out, overwrite=args.overwrite)
    if args.json:
        result = {
            "tokenizer": args.out,
            "vocab_size": tokenizer.vocab_size,
            "merges": len(tokenizer.merges),
            "end_token_id": tokenizer.end_token_id,
            "fingerprint": tokenizer.fingerprint,
        }
        print(json.dumps(result))
        return
    print(f"Wrote a vocabulary of {tokenizer.vocab_size:,} tokens to {args.out}")
    if tokenizer.vocab_size < args.vocab_size:
        print(f"(not {args.vocab_size:,}: no other pair of tokens occurs twice in the text)")
    words = (Path(args.files[0]), "--tokenizer", Path(args.out), "--out", "tokens")
    print(f"Next: {next_command('prepare', *words)}")
