"""Continues texts.

Each prompt is printed with the new text after it, as it comes; without a prompt the model
begins a text of its own. Greedy by default; --temperature, --top-k, --top-p or --min-p
sample instead.

Example:
  gpt2-keras generate --model RUN "Once upon a time" --max-new-tokens 50 --top-k 40
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from gpt2_keras.cli.arguments import integer, number
from gpt2_keras.cli.quiet import load_tensorflow

HELP = "continue texts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("prompts", nargs="*", metavar="PROMPT", help="text to continue")
    parser.add_argument("--model", required=True, metavar="DIR", help="model or run directory")
    parser.add_argument(
        "--max-new-tokens",
        type=integer(1),
        metavar="N",
        help="default: 64, or half the context if that is less",
    )
    parser.add_argument(
        "--temperature", type=number(0), metavar="T", help="0 takes the most likely token"
    )
    parser.add_argument(
        "--top-k", type=integer(0), metavar="K", help="sample from the K most likely; 0 means all"
    )
    parser.add_argument(
        "--top-p",
        type=number(0, 1, above=True),
        metavar="P",
        help="sample from the fewest tokens with a total probability of P",
    )
    parser.add_argument(
        "--min-p",
        type=number(0, 1),
        metavar="P",
        help="sample from tokens with at least P times the highest probability",
    )
    parser.add_argument(
        "--repetition-penalty",
        type=number(0, above=True),
        metavar="R",
        help="above 1: makes tokens that the text has less likely",
    )
    parser.add_argument("--seed", type=integer(), metavar="N", help="makes sampling repeatable")
    parser.add_argument(
        "--num-return-sequences",
        type=integer(1),
        default=1,
        metavar="N",
        help="number of texts of each prompt",
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end before this text"
    )
    parser.add_argument(
        "--bad-word", action="append", default=[], metavar="TEXT", help="ban this text"
    )
    parser.add_argument(
        "--forced-prefix", default="", metavar="TEXT", help="the beginning of the new text"
    )
    parser.add_argument(
        "--min-new-tokens",
        type=integer(0),
        default=0,
        metavar="N",
        help="number of tokens before a text may end by itself",
    )
    parser.add_argument(
        "--on-overflow",
        choices=("error", "truncate", "sliding_window"),
        default="error",
        help="what to do with a text that outgrows the context (default: %(default)s)",
    )
    parser.add_argument(
        "--interactive", action="store_true", help="read prompts from the terminal, one per line"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of texts")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    if args.interactive and (args.prompts or args.json):
        raise ValueError(
            "--interactive was given with a prompt or --json. It reads its prompts from the "
            "terminal. Leave one of them out."
        )
    load_tensorflow()
    from gpt2_keras import GPT2LM

    model = GPT2LM.from_preset(args.model)
    settings = _settings(args)
    prompts, count = args.prompts or [""], args.num_return_sequences
    if args.json:
        texts = model.generate(prompts, seed=args.seed, num_return_sequences=count, **settings)
        print(json.dumps(texts, ensure_ascii=False, indent=2))
        return
    if count > 1 and settings["sampler"].temperature == 0:
        raise ValueError(
            f"--num-return-sequences {count} asks for several texts of greedy decoding, which "
            "gives one. Add --temperature, --top-k, --top-p or --min-p, for example "
            "--temperature 1."
        )
    row = 0
    for prompt in _ask() if args.interactive else prompts:
        for _ in range(count):
            seed = None if args.seed is None else args.seed + row
            _print_stream(model, prompt, seed, settings, separate=row > 0)
            row += 1


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of `generate` and `stream` that the options stand for."""
    from gpt2_keras.generation import LogitsProcessors
    from gpt2_keras.generation.sampler import resolve

    sampler = resolve(
        None,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        min_p=args.min_p,
        repetition_penalty=args.repetition_penalty,
    )
    processors = LogitsProcessors(
        bad_words=args.bad_word,
        forced_prefix=args.forced_prefix,
        min_new_tokens=args.min_new_tokens,
    )
    return {
        "max_new_tokens": args.max_new_tokens,
        "sampler": sampler,
        "stop": args.stop,
        "logits_processors": processors,
        "on_overflow": args.on_overflow,
    }


def _ask() -> Iterator[str]:
    """Yields the prompts that the user types, until the end of input."""
    print("Type a prompt and press Enter; Ctrl-D ends.", file=sys.stderr)
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return


def _print_stream(
    model: Any, prompt: str, seed: int | None, settings: dict[str, Any], *, separate: bool
) -> None:
    """Prints a text as it comes, and its speed on the error stream."""
    deltas = model.stream(prompt, seed=seed, **settings)
    if separate:
        print("---")
    print(prompt, end="", flush=True)
    started, count = time.perf_counter(), 0
    for delta in deltas:
        print(delta, end="", flush=True)
        count += len(model.tokenizer.encode(delta))
    print()
    seconds = time.perf_counter() - started
    print(f"[{count} tokens, {count / seconds:.1f} tokens/s]", file=sys.stderr)
