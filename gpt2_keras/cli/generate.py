"""Continues texts.

Each prompt is printed with the new text after it, as it comes; without a prompt the model
begins a text of its own. Greedy unless the model's generation_config.json says otherwise;
--temperature, --top-k, --top-p or --min-p sample instead.

Example:
  gpt2-keras generate --model RUN "Once upon a time" --max-new-tokens 50 --top-k 40
"""

import argparse
import dataclasses
import io
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from gpt2_keras.cli.arguments import (
    DEVICE,
    MODEL,
    SAMPLING,
    SEED,
    SPECIAL_TOKENS,
    add_flags,
    integer,
    number,
    text,
)
from gpt2_keras.cli.quiet import load_tensorflow
from gpt2_keras.devices import current_device, warn_of_unused_gpu

HELP = "continue texts"
_MIN_P, _PENALTY = number(0, 1), number(0, above=True)
_ON_OVERFLOW = "what to do with a text that outgrows the context (default: %(default)s)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    overflow = ("error", "truncate", "sliding_window")
    parser.add_argument("prompts", nargs="*", type=text, metavar="PROMPT", help="text to continue")
    parser.add_argument("--model", **MODEL)
    add_flags(
        parser,
        ("--max-new-tokens", "N", integer(1), "default: 64, or half the context if that is less"),
        *SAMPLING,
        (
            "--min-p",
            "P",
            _MIN_P,
            "sample from tokens with at least P times the highest probability",
        ),
        (
            "--repetition-penalty",
            "R",
            _PENALTY,
            "above 1: makes tokens that the text has less likely",
        ),
        SEED,
        ("--num-return-sequences", "N", integer(1), "number of texts of each prompt", 1),
        ("--stop", "TEXT", [text], "end before this text", []),
        ("--bad-word", "TEXT", [text], "ban this text", []),
        ("--forced-prefix", "TEXT", text, "the beginning of the new text", ""),
        (
            "--min-new-tokens",
            "N",
            integer(0),
            "number of tokens before a text may end by itself",
            0,
        ),
        ("--on-overflow", None, overflow, _ON_OVERFLOW, "error"),
        SPECIAL_TOKENS,
        DEVICE,
        ("--jit-compile", None, bool, "compile the loop by XLA: seconds more, then faster texts"),
        ("--interactive", None, bool, "read prompts from the terminal, one per line"),
        ("--json", None, bool, "print a JSON list of texts"),
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    if args.interactive and (args.prompts or args.json):
        raise ValueError(
            "--interactive was given with a prompt or --json. It reads its prompts from the "
            "terminal. Leave one of them out."
        )
    load_tensorflow(args.device)
    warn_of_unused_gpu(current_device())
    from gpt2_keras import GPT2LM

    model = GPT2LM.from_preset(args.model)
    settings = _settings(args, model)
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


def _settings(args: argparse.Namespace, model: Any) -> dict[str, Any]:
    """Returns the arguments of `generate` and `stream` that the options stand for."""
    from gpt2_keras.generation.defaults import default_processors, default_sampler

    sampler = default_sampler(
        model,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        min_p=args.min_p,
        repetition_penalty=args.repetition_penalty,
    )
    processors = default_processors(model)
    changes = {
        "bad_words": args.bad_word,
        "forced_prefix": args.forced_prefix,
        "min_new_tokens": args.min_new_tokens or processors.min_new_tokens,
    }
    return {
        "max_new_tokens": args.max_new_tokens,
        "sampler": sampler,
        "stop": args.stop,
        "logits_processors": dataclasses.replace(processors, **changes),
        "on_overflow": args.on_overflow,
        "special_tokens": args.special_tokens,
        "jit_compile": args.jit_compile,
    }


def _ask() -> Iterator[str]:
    """Yields the prompts that the user types, until the end of input."""
    print("Type a prompt and press Enter; Ctrl-D ends.", file=sys.stderr)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # as `text` reads arguments
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
    where = f"{current_device()}, {model.compute_dtype}"
    print(f"[{count} tokens, {count / seconds:.1f} tokens/s on {where}]", file=sys.stderr)
