"""Shows what a model makes of a text: expected tokens, attention, the logit lens.

Prints a line per token: its surprisal in bits, its rank among all tokens, and the three most
likely in its place. --out writes a page that shows all of it, with attention maps, the lens,
attributions and ablations, in one file for any browser; --serve opens such a page to type in.

Example:
  gpt2-keras explore "Once upon a time" --model RUN --out page.html
  gpt2-keras explore "The cat sat on the" --model RUN --against " floor" --ablate 3.1
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpt2_keras.cli.arguments import DEVICE, MODEL, SPECIAL_TOKENS, add_flags, integer, text
from gpt2_keras.cli.explore_table import attribution_table, token_table
from gpt2_keras.cli.quiet import load_tensorflow
from gpt2_keras.devices import current_device, warn_of_unused_gpu

HELP = "look inside: what a model expects, where it looks, when it knows"
METHODS = ("input_x_gradient", "gradient_norm", "integrated_gradients", "occlusion")
MODES = ("mean", "zero", "resample")
DEFAULT_PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    # Not `text`, which errors would call a flag.
    parser.add_argument("explored", type=text, metavar="TEXT", help="text to look into")
    parser.add_argument("--model", **MODEL)
    against = "explain the next token against this one: why that and not TOKEN"
    quick = "a page without attributions and ablations, which take a pass per token and head"
    add_flags(
        parser,
        ("--out", "FILE", Path, "write a page, an .html file"),
        ("--json", None, bool, "print all numbers as JSON"),
        ("--serve", None, bool, "open a page to type in, on this machine alone"),
        ("--port", "N", integer(0), "of --serve; 0 for any (default: %(default)s)", DEFAULT_PORT),
        ("--attribute", "TOKEN", text, "explain this next token (default: the most likely)"),
        ("--against", "TOKEN", text, against),
        ("--method", None, METHODS, "of explaining (default: %(default)s)", METHODS[0]),
        ("--ablate", "LAYER.HEAD", [str], "also without this attention head; may be repeated", []),
        ("--ablate-by", None, MODES, "what a head gives instead (default: %(default)s)", "mean"),
        ("--compare", "DIR", [str], "also by this model; may be repeated", []),
        ("--checkpoints", None, bool, "by every checkpoint of the run, not by its best model"),
        ("--top", "K", integer(1), "number of candidates (default: %(default)s)", 10),
        ("--layers", "LIST", _numbers, "layers whose attention is kept, as 0,5,11 (default: all)"),
        ("--no-start-token", None, bool, "without <|endoftext|> before the text"),
        ("--ids", None, bool, "TEXT is token ids, as 464,3797; for a model without tokenizer"),
        ("--quick", None, bool, quick),
        SPECIAL_TOKENS,
        DEVICE,
    )
    parser.set_defaults(usage_error=parser.error)


def _numbers(argument: str) -> list[int]:
    """Reads a list of numbers."""
    parse = integer(0)
    return [parse(each) for each in argument.split(",")]


def run(args: argparse.Namespace) -> None:
    """Runs the command.

    Raises:
        FileExistsError: If the page exists.
        ValueError: If the text, a token, a head or a layer is none of the model's.
    """
    _check_usage(args)
    load_tensorflow(args.device)
    warn_of_unused_gpu(current_device())
    from gpt2_keras.understanding import explore

    models = _models(args)
    first = next(iter(models.values()))
    top = min(args.top, first.config.vocab_size)
    options = {
        "k": top,
        "layers": args.layers,
        "start_token": False if args.no_start_token else None,
        "special_tokens": args.special_tokens,
    }
    if args.serve:
        _serve(args, models, options)
        return
    found = [explore(model, args.explored, name=name, **options) for name, model in models.items()]
    if args.ablate:
        found.append(_without_heads(args, first, options))
    attribution = None
    if args.attribute is not None or args.against is not None:
        attribution = _attribution(args, first, found[0])
    if args.out is not None:
        _write_page(args, list(models.values()), found)
    if args.json:
        print(json.dumps(_contents(args, found, attribution), ensure_ascii=False))
        return
    print(token_table(found))
    if attribution is not None:
        print("\n" + attribution_table(attribution, found[0]))
    if args.out is not None:
        print(f"\nwrote {args.out}")


def _check_usage(args: argparse.Namespace) -> None:
    """Ends the program if flags do not go together, and if the page exists; reads ids."""
    if args.ids:
        try:
            args.explored = _numbers(args.explored)
        except argparse.ArgumentTypeError as error:
            args.usage_error(f"argument --ids: {error}")
    if args.serve and (args.json or args.out or args.ablate or args.attribute or args.against):
        args.usage_error("argument --serve: the page asks for what it shows; leave the others out")
    if args.checkpoints and args.compare:
        args.usage_error("argument --checkpoints: not with --compare")
    if args.checkpoints and args.serve:
        args.usage_error("argument --checkpoints: not with --serve")
    if args.out is not None:
        from gpt2_keras.atomic import check_output_file

        check_output_file(args.out)


def _models(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the models by their names, the one of --model first."""
    from gpt2_keras import GPT2LM

    names = [args.model, *args.compare]
    if args.checkpoints:
        return _checkpoints(args.model)
    if len(set(names)) < len(names):
        args.usage_error(f"argument --compare: {args.compare[-1]} is named twice")
    return {name: GPT2LM.from_preset(name) for name in names}


def _checkpoints(directory: str) -> dict[str, Any]:
    """Returns the models of a run's checkpoints, by their steps."""
    from gpt2_keras import GPT2LM
    from gpt2_keras.runs import RunDirectory

    checkpoints = RunDirectory(Path(directory)).all_checkpoints()
    if not checkpoints:
        raise FileNotFoundError(
            f"{directory} has no checkpoints. `gpt2-keras train --out` makes a run directory that "
            "has. Name one, or leave out --checkpoints."
        )
    models = {}
    for checkpoint in checkpoints:
        model = GPT2LM.from_preset(directory)
        checkpoint.restore_weights(model)
        models[f"step {checkpoint.progress.step}"] = model
    return models


def _serve(args: argparse.Namespace, models: dict[str, Any], options: dict[str, Any]) -> None:
    """Serves the page until the user ends it."""
    from gpt2_keras.understanding.server import ExplorerServer

    with ExplorerServer(models, args.explored, args.port, **options) as server:
        print(f"Open {server.url} in a browser of this machine; Ctrl-C ends.", flush=True)
        server.serve_forever()


def _without_heads(args: argparse.Namespace, model: Any, options: dict[str, Any]) -> Any:
    """Explores the text without the heads of --ablate."""
    from gpt2_keras.understanding import ablate
    from gpt2_keras.understanding.ablation import parse_head

    named = [head for each in args.ablate for head in each.split(",")]
    heads = [parse_head(model, each, "ablate") for each in named]
    name = f"without {', '.join(named)}"
    return ablate(model, args.explored, heads, args.ablate_by, name=name, **options)


def _attribution(args: argparse.Namespace, model: Any, exploration: Any) -> Any:
    """Explains the token of --attribute, or the most likely one, against that of --against."""
    from gpt2_keras.understanding import attribute
    from gpt2_keras.understanding.texts import token_of

    foil = None if args.against is None else token_of(model, args.against, "against")
    if args.attribute is None:
        best = exploration.candidate_ids[-1].tolist()
        target = next((each for each in best if each != foil), best[0])
    else:
        target = token_of(model, args.attribute, "attribute")
    return attribute(model, exploration.token_ids.tolist(), target, foil, method=args.method)


def _write_page(args: argparse.Namespace, models: Sequence[Any], found: Sequence[Any]) -> None:
    """Writes the page, as a whole or not at all."""
    from gpt2_keras.atomic import new_file
    from gpt2_keras.cli.progress import count_progress
    from gpt2_keras.understanding.page import page_of
    from gpt2_keras.understanding.panels import with_panels

    shown = list(found)
    page_of(shown)  # what does not fit on a page is told before the long work
    if not args.quick:
        for index, model in enumerate(models):
            with count_progress(f"looking inside {shown[index].model}") as on_progress:
                shown[index] = with_panels(
                    model,
                    shown[index],
                    foil=args.against,
                    method=args.method,
                    mode=args.ablate_by,
                    on_progress=on_progress,
                )
    page = page_of(shown)
    with new_file(args.out) as unfinished:
        unfinished.write_text(page, encoding="utf-8")


def _contents(args: argparse.Namespace, found: Sequence[Any], attribution: Any) -> dict[str, Any]:
    """Returns what --json prints."""
    contents: dict[str, Any] = found[0].to_dict()
    others = [each.to_dict() for each in found[1:]]
    if args.ablate:
        contents["ablated"] = {"heads": args.ablate, "mode": args.ablate_by, **others.pop()}
    if others:
        contents["compared"] = others
    if attribution is not None:
        contents["attribution"] = {
            "target": attribution.target,
            "foil": attribution.foil,
            "method": attribution.method,
            "score": attribution.score,
            "values": [None if math.isnan(each) else each for each in attribution.values.tolist()],
        }
    return contents
