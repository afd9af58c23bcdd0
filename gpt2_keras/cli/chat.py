"""Talks with a model.

Type a message and press Enter; the arrow keys edit it and bring back earlier ones.
Ctrl-C stops an answer, Ctrl-D ends. Lines that begin with / are commands: /help,
/undo, /reset, /save FILE, /quit. From a pipe each line is a message.

A model that was trained on conversations answers best: `train --task chat`. Models
like DialoGPT need --format dialogpt.

Example:
  gpt2-keras chat --model RUN --temperature 0.8 --top-k 40
"""

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

from gpt2_keras.cli.arguments import DEVICE, MODEL, SAMPLING, SEED, add_flags, integer, text
from gpt2_keras.cli.task_input import load_model, sampler_of

HELP = "talk with a model"
_COMMANDS = """/undo       forget the last message and its answer
/reset      forget everything
/save FILE  write the conversation to FILE, one JSON line that `train --task chat` reads
/quit       end, as Ctrl-D does"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--model", **MODEL)
    tokens = "largest number of tokens of an answer, for which room is kept (default: 64)"
    add_flags(
        parser,
        ("--system", "TEXT", text, "what stands before the conversation", ""),
        ("--format", None, ("plain", "dialogpt"), "of the turns (default: %(default)s)", "plain"),
        ("--max-new-tokens", "N", integer(1), tokens),
        *SAMPLING,
        SEED,
        DEVICE,
        ("--json", None, bool, "print each answer as a JSON line, with its log-probability"),
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    model = load_model(args)
    from gpt2_keras.applications import Chat

    chat = Chat(
        model,
        system=args.system,
        format=args.format,
        max_new_tokens=args.max_new_tokens,
        sampler=sampler_of(args),
        seed=args.seed,
    )
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 -- gives `input` its editing and history
        print("Ctrl-C stops an answer, Ctrl-D ends; /help shows more.", file=sys.stderr)
    while True:
        try:
            line = input("> " if is_terminal else "").strip()
        except EOFError:
            if is_terminal:
                print()
            return
        except KeyboardInterrupt:
            print("\n(Ctrl-D or /quit ends)", file=sys.stderr)
            continue
        if line == "/quit":
            return
        if line.startswith("/"):
            _obey(chat, line)
        elif line:
            _answer(chat, line, args)


def _answer(chat: Any, message: str, args: argparse.Namespace) -> None:
    """Prints an answer as it comes; Ctrl-C stops it, and what was said is kept."""
    try:
        stream = chat.stream(message)
    except ValueError as error:  # of a message that is too long
        print(f"error: {error}", file=sys.stderr)
        return
    except KeyboardInterrupt:  # while the message is read
        print("\n(not answered)", file=sys.stderr)
        return
    try:
        begun = False
        for delta in stream:
            if not args.json:
                shown = delta if begun else delta.lstrip()
                begun = begun or bool(shown)
                print(shown, end="", flush=True)
    except KeyboardInterrupt:
        stream.close()
    reply = stream.reply
    if args.json:
        row = {name: getattr(reply, name) for name in ("text", "log_prob", "finish_reason")}
        print(json.dumps({**row, "cropped": reply.cropped}, ensure_ascii=False), flush=True)
        return
    print(flush=True)
    if reply.cropped:
        print(f"({len(reply.cropped)} characters of the oldest turns dropped)", file=sys.stderr)


def _obey(chat: Any, line: str) -> None:
    """Carries out a command of the conversation."""
    word, _, rest = line.partition(" ")
    if word == "/undo":
        print("forgotten" if chat.undo() else "nothing to forget", file=sys.stderr)
    elif word == "/reset":
        chat.reset()
        print("forgotten", file=sys.stderr)
    elif word == "/save" and rest.strip():
        _save(chat, Path(rest.strip()))
    else:
        if word != "/help":
            print(f"{line} is no command", file=sys.stderr)
        print(_COMMANDS, file=sys.stderr)


def _save(chat: Any, path: Path) -> None:
    from gpt2_keras.atomic import check_output_file, new_file

    try:
        check_output_file(path)
        with new_file(path) as unfinished:
            unfinished.write_text(
                json.dumps({"messages": chat.messages}, ensure_ascii=False) + "\n", encoding="utf-8"
            )
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
    else:
        print(f"wrote {path}", file=sys.stderr)
