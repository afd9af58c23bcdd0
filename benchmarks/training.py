"""Speed and memory of training on the CPU, side by side: us, KerasHub, transformers, PyTorch.

Two shapes in float32: S, nanoGPT's Shakespeare network, and M, GPT-2 124M. Random ids,
AdamW, clipping, no dropout, all cores; see `_trainers.py`. The peers take turns, so that
other work on the machine hits all of them, and each turn is a process of its own: some
steps of M need 5 GB. A peer that does not start is left out with a message:
`pip install "gpt2-keras[bench]"` installs all, but `torch.compile` needs a C++ compiler.

Figures are medians over the turns: tokens per second after two warm-up steps; the peak
memory of the process; and the time to the end of the first step, from the construction of the
model, after the imports, with nothing compiled before. Ratios are our speed on TensorFlow divided
by theirs.

    benchmarks/training.py                             all peers: 45 minutes on two cores
    benchmarks/training.py --shapes S --peers gpt2_keras torch_compile
    benchmarks/training.py --shapes tiny --rounds 1    a test run, which writes no results
"""

import argparse
import json
import os
import statistics
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from _turns import NAMES, Job, take_turn

RESULT = Path(__file__).resolve().parent / "results" / "training.json"
OURS = "gpt2_keras"
SHAPES = {
    "S": Job(6, 6, 384, context_length=256, batch_size=12, vocab_size=65),
    "M": Job(12, 12, 768, context_length=256, batch_size=4, vocab_size=50257),
    "tiny": Job(2, 2, 32, context_length=16, batch_size=4, vocab_size=65),
}
KEPT = ("S", "M")
FIGURES = ("tokens_per_second", "peak_megabytes", "first_step_seconds")
PACKAGES = ("jax", "keras", "keras-hub", "tensorflow", "torch", "transformers")
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}


def measure(name: str, peers: list[str], rounds: int, steps: int) -> dict[str, dict[str, float]]:
    """Measures the peers in turns on one shape; returns the medians of those that start."""
    job = Job(**{**vars(SHAPES[name]), "steps": steps})
    turns: dict[str, list[dict[str, Any]]] = {peer: [] for peer in peers}
    for turn in range(1, rounds + 1):
        for peer in list(turns):
            print(f"{name}: {NAMES[peer]}, round {turn}/{rounds}", file=sys.stderr, flush=True)
            answer = take_turn(peer, job, **NO_GPU)
            if "error" in answer:
                print(f"{answer['error']}\nLEFT OUT, failed: {peer}", file=sys.stderr)
                del turns[peer]
                continue
            turns[peer].append(answer)
            figures = ", ".join(f"{figure} {answer[figure]:.1f}" for figure in FIGURES)
            print(f"    {figures}, loss {answer['loss']:.3f}", file=sys.stderr)
    return {
        peer: {figure: statistics.median(row[figure] for row in rows) for figure in FIGURES}
        for peer, rows in turns.items()
    }


def versions() -> dict[str, str]:
    """Returns the versions of the peers and of their backends."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            print(f"not installed: {package}", file=sys.stderr)
    return found


def markdown(result: dict[str, Any]) -> str:
    """Returns the table of docs/benchmarks.md."""
    shapes = result["shapes"]
    head = [f"{shape}, tokens/s | peak, GB | first step, s" for shape in shapes]
    lines = [f"| | {' | '.join(head)} |", "|---" * (1 + 3 * len(shapes)) + "|"]
    for peer, name in NAMES.items():
        cells = []
        for table in shapes.values():
            if peer not in table:
                cells.append("– | – | –")
                continue
            speed, peak, first = (table[peer][figure] for figure in FIGURES)
            shown = f"{speed:.0f}"
            if OURS in table:
                shown += f" ({table[OURS]['tokens_per_second'] / speed:.2f} ×)"
            cells.append(f"{shown} | {peak / 1024:.2f} | {first:.1f}")
        if any(peer in table for table in shapes.values()):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def keep(result: dict[str, Any]) -> None:
    """Updates the file of results with the measured shapes; others stay as they are."""
    kept = {shape: table for shape, table in result["shapes"].items() if shape in KEPT}
    if not kept:
        return
    before = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {"shapes": {}}
    shapes = {**before["shapes"], **kept}
    result = {**result, "shapes": {shape: shapes[shape] for shape in KEPT if shape in shapes}}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=KEPT)
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each peer")
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each turn")
    args = parser.parse_args()
    tables = {shape: measure(shape, args.peers, args.rounds, args.steps) for shape in args.shapes}
    result = {"cores": os.cpu_count(), "versions": versions(), "shapes": tables}
    keep(result)
    print(markdown(result))
    missing = [shape for shape, table in tables.items() if len(table) < len(args.peers)]
    if missing:
        print(f"some peers were left out: see above ({', '.join(missing)})", file=sys.stderr)
    return 0 if all(tables.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
