"""Trains, generates, exports and runs the export in about five minutes, without a network.

Trains a tokenizer and a small GPT-2 on the documentation text that ships inside
Python (or on --corpus), shows samples from before and after, exports a SavedModel
and a .tflite file, and asks both in fresh processes that do not import this
package. Ends with a page that looks inside the model. If DIR exists, DIR-2, DIR-3, … is used.

Example:
  gpt2-keras demo --out demo
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpt2_keras.cli.arguments import add_flags, integer
from gpt2_keras.cli.next_command import next_command
from gpt2_keras.cli.quiet import load_tensorflow

HELP = "train, generate, export and run the export, in about five minutes"
VOCAB_SIZE = 2048
NEW_TOKENS = 48
SHAPE: dict[str, Any] = {"num_layers": 4, "num_heads": 4, "hidden_dim": 192, "context_length": 128}
BATCH_SIZE = 8
PROMPTS = ("The standard library", "A class definition", "If an exception")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_flags(
        parser,
        ("--out", "DIR", str, "default: %(default)s", "demo"),
        ("--steps", "N", integer(1), "default: %(default)s", 600),
        ("--seed", "N", integer(0), "default: 0", 0),
    )
    parser.add_argument(
        "--corpus", nargs="+", metavar="FILE", help="your own text, instead of Python's"
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    out = _new_directory(Path(args.out))
    out.mkdir(parents=True)
    load_tensorflow()
    _heading(f"1/6  Text and tokenizer, into {out}")
    tokenizer = _prepare(out, args.corpus)
    _heading(f"2/6  Training for {args.steps} steps")
    model, prompts = _train(out, args, tokenizer)
    _heading("3/6  Export")
    saved_model = model.export(out / "saved_model", version=1, max_new_tokens=NEW_TOKENS)
    print(f"{saved_model}  strings in, strings out")
    _print_certificate(saved_model)
    tflite = model.export(out / "model.tflite", format="litert")
    print(f"{tflite}  bytes in, bytes out, in LiteRT's builtin ops")
    _print_certificate(tflite)
    _heading("4/6  A fresh process with TensorFlow alone asks the SavedModel")
    answers = _ask(out, "ask_saved_model.py", [str(saved_model), *prompts])
    _check(answers, prompts, model, "SavedModel")
    _heading("5/6  A fresh process with LiteRT alone asks the .tflite file")
    answers = _ask(out, "ask_litert.py", [str(tflite), str(NEW_TOKENS), *prompts])
    _check(answers, prompts, model, ".tflite file")
    _heading("6/6  A page that looks inside the model")
    _explore(out, model, answers[0])
    _print_summary(out)


def _new_directory(out: Path) -> Path:
    """Returns the path, or the first one with a number that does not exist."""
    path, number = out, 1
    while path.exists() and not (path.is_dir() and not any(path.iterdir())):
        number += 1
        path = out.with_name(f"{out.name}-{number}")
    if path.is_dir():
        path.rmdir()
    return path


def _prepare(out: Path, corpus: Sequence[str] | None) -> Any:
    """Writes the tokenizer and the token shards; returns the tokenizer."""
    from gpt2_keras.data import prepare, read_texts
    from gpt2_keras.tokenizer import GPT2Tokenizer

    files = [Path(name) for name in corpus] if corpus else [_python_documentation(out)]
    tokenizer = GPT2Tokenizer.train(read_texts(files), VOCAB_SIZE)
    tokenizer.save(out / "tokenizer")
    shards = prepare(files, tokenizer, out / "shards")
    size = sum(file.stat().st_size for file in files)
    print(f"{size:,} bytes of text, {len(shards):,} tokens, vocabulary of {tokenizer.vocab_size:,}")
    return tokenizer


def _python_documentation(out: Path) -> Path:
    """Writes the documentation that ships inside Python to a file."""
    from pydoc_data.topics import topics

    file = out / "corpus.txt"
    file.write_text("\n\n".join(topics[name].strip() for name in sorted(topics)) + "\n", "utf-8")
    return file


def _train(out: Path, args: argparse.Namespace, tokenizer: Any) -> tuple[Any, list[str]]:
    """Trains a model and shows samples of it; returns it with the prompts."""
    from gpt2_keras import GPT2LM
    from gpt2_keras.runs import RunDirectory, TrainingSettings, loss_curve_text, train

    settings = TrainingSettings(
        data=str(out / "shards"),
        tokenizer=str(out / "tokenizer"),
        steps=args.steps,
        seed=args.seed,
        batch_size=BATCH_SIZE,
        **SHAPE,
    )
    untrained = GPT2LM(settings.model_config(tokenizer.vocab_size), tokenizer)
    print(f"{untrained.count_params():,} parameters; before training it writes:")
    prompts = ["The", "In"] if args.corpus else list(PROMPTS)
    sampling = {"temperature": 0.8, "top_k": 40, "seed": args.seed, "strip_prompt": True}
    for prompt in prompts[:1]:
        _show(prompt, untrained.generate(prompt, max_new_tokens=24, **sampling))
    model = train(
        settings, out / "run", verbose=1 if sys.stdout.isatty() else 2, model_class=GPT2LM
    )
    print("\nafter training it writes:")
    for prompt in prompts:
        _show(prompt, model.generate(prompt, max_new_tokens=NEW_TOKENS, **sampling))
    losses = [row["val_loss"] for row in RunDirectory(out / "run").progress().history]
    print(f"\nvalidation loss  {loss_curve_text(losses)}")
    return model, prompts


def _print_certificate(artifact: Path) -> None:
    """Prints what was measured when the artifact was compared with the model."""
    from gpt2_keras.export import Certificate

    print(f"  certified: {Certificate.read(artifact).summary}")


def _ask(out: Path, program: str, arguments: Sequence[str]) -> Any:
    """Runs a client, copied beside the artifacts, in a process of its own; reads its JSON."""
    from gpt2_keras.export import clients

    copy = out / program
    shutil.copyfile(Path(clients.__file__).with_name(program), copy)
    # Isolated: it cannot import this package from this directory or the environment.
    command = [sys.executable, "-I", str(copy), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if result.returncode:
        raise OSError(f"{program} failed with status {result.returncode}: {result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def _check(answers: list[str], prompts: list[str], model: Any, artifact: str) -> None:
    """Prints an artifact's answers, and checks that the Keras model gives the same."""
    for prompt, answer in zip(prompts, answers, strict=True):
        _show(prompt, answer[len(prompt) :])
    expected = model.generate(prompts, max_new_tokens=NEW_TOKENS)
    if answers != expected:
        raise ValueError(
            f"The {artifact} answers {answers!r}, and model.generate {expected!r}. They must be "
            "equal. Please report this."
        )
    print(f"The {artifact} gives exactly the texts of model.generate.")


def _explore(out: Path, model: Any, text: str) -> None:
    """Writes a page of what the model makes of a text."""
    from gpt2_keras.understanding import explore
    from gpt2_keras.understanding.panels import with_panels

    exploration = with_panels(model, explore(model, text, name="the demo's model"))
    page = exploration.to_html(out / "explore.html")
    known = exploration.bits[1:]
    print(f"{page}  {len(known)} tokens, {known.mean():.2f} bits each: open it in a browser")


def _heading(text: str) -> None:
    print(f"\n== {text}\n", flush=True)


def _show(prompt: str, continuation: str) -> None:
    """Prints a prompt and its continuation, indented."""
    print(f"  [{prompt}]{continuation}".replace("\n", "\n  ").rstrip(), flush=True)


def _print_summary(out: Path) -> None:
    """Prints the list of files, and what to try next."""
    model, saved_model = out / "run", out / "saved_model" / "1"
    generate = next_command("generate", "--model", model, "A function", "--temperature", "0.8")
    ask = shlex.join(["python", str(out / "ask_saved_model.py"), str(saved_model), "A function"])
    print(
        f"\n== Written to {out}\n\n"
        "  tokenizer/      vocabulary and merges, in Hugging Face's files\n"
        "  shards/         the text as token ids\n"
        "  run/model/      the model directory\n"
        "  run/loss.png    the loss curve\n"
        "  saved_model/1/  the SavedModel, with its certificate\n"
        "  model.tflite    the LiteRT file, its certificate beside it\n"
        "  explore.html    what the model makes of a text, to open in a browser\n"
        "\n== Try next\n\n"
        f"  {generate} --top-k 40\n"
        f"  {ask}\n"
        f"  {next_command('verify', saved_model, '--model', model)}\n"
        "  gpt2-keras demo --corpus YOUR_TEXT.txt --out my-demo"
    )
