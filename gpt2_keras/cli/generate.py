"""Continues texts.

Each prompt is printed with what the model adds to it, as it comes; without a
prompt the model begins a text of its own. Greedy by default; --temperature,
--top-k, --top-p or --min-p draws instead.

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
        help="default: 64, or half a smaller context",
    )
    parser.add_argument(
        "--temperature", type=number(0), metavar="T", help="0 takes the likeliest token"
    )
    parser.add_argument(
        "--top-k", type=integer(0), metavar="K", help="draw from the K likeliest; 0 means all"
    )
    parser.add_argument(
        "--top-p",
        type=number(0, 1, above=True),
        metavar="P",
        help="draw from the fewest with a share of P",
    )
    parser.add_argument(
        "--min-p",
        type=number(0, 1),
        metavar="P",
        help="draw from those with P of the likeliest one's probability",
    )
    parser.add_argument(
        "--repetition-penalty",
        type=number(0, above=True),
        metavar="R",
        help="above 1: tokens that the text has become less likely",
    )
    parser.add_argument("--seed", type=integer(), metavar="N", help="makes a draw repeatable")
    parser.add_argument(
        "--num-samples", type=integer(1), default=1, metavar="N", help="texts of each prompt"
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end before this text"
    )
    parser.add_argument(
        "--bad-word", action="append", default=[], metavar="TEXT", help="text that must not come"
    )
    parser.add_argument(
        "--forced-prefix", default="", metavar="TEXT", help="what the new text begins with"
    )
    parser.add_argument(
        "--min-new-tokens",
        type=integer(0),
        default=0,
        metavar="N",
        help="tokens before a text may end by itself",
    )
    parser.add_argument(
        "--overflow",
        choices=("refuse", "crop", "slide"),
        default="refuse",
        help="what to do with a text that outgrows the context (default: %(default)s)",
    )
    parser.add_argument(
        "--interactive", action="store_true", help="read prompts from the terminal, one a line"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of texts")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    if args.interactive and (args.prompts or args.json):
        raise ValueError(
            "--interactive reads its prompts from the terminal. "
            "Received: --interactive with a prompt or --json. Leave one of them out."
        )
    load_tensorflow()
    from gpt2_keras import GPT2LM

    model = GPT2LM.from_preset(args.model)
    settings = _settings(args)
    prompts = args.prompts or [""]
    if args.json:
        texts = model.generate(prompts, seed=args.seed, num_samples=args.num_samples, **settings)
        print(json.dumps(texts, ensure_ascii=False, indent=2))
        return
    if args.num_samples > 1 and settings["sampler"].temperature == 0:
        raise ValueError(
            "Several samples of a prompt differ only if tokens are drawn. "
            f"Received: --num-samples {args.num_samples} without --temperature, --top-k, "
            "--top-p or --min-p. Add, for example, --temperature 1."
        )
    numbered = _ask() if args.interactive else prompts
    row = 0
    for prompt in numbered:
        for _ in range(args.num_samples):
            seed = None if args.seed is None else args.seed + row
            _print_stream(model, prompt, seed, settings, separate=row > 0)
            row += 1


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of `generate` and `stream` that the options ask for."""
    from gpt2_keras.generation import Rules
    from gpt2_keras.generation.sampling import resolve

    sampler = resolve(
        None,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        min_p=args.min_p,
        repetition_penalty=args.repetition_penalty,
    )
    rules = Rules(
        bad_words=args.bad_word,
        forced_prefix=args.forced_prefix,
        min_new_tokens=args.min_new_tokens,
    )
    return {
        "max_new_tokens": args.max_new_tokens,
        "sampler": sampler,
        "stop": args.stop,
        "rules": rules,
        "overflow": args.overflow,
    }


def _ask() -> Iterator[str]:
    """Yields what the user types, until the end of input."""
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
    pieces = model.stream(prompt, seed=seed, **settings)
    if separate:
        print("---")
    print(prompt, end="", flush=True)
    started, count = time.perf_counter(), 0
    for piece in pieces:
        print(piece, end="", flush=True)
        count += len(model.tokenizer.encode(piece))
    print()
    seconds = time.perf_counter() - started
    print(f"[{count} tokens, {count / seconds:.1f} tokens/s]", file=sys.stderr)
