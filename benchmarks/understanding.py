"""Seconds and bytes of looking inside GPT-2 124M, of texts of several lengths.

`explore` alone, then the attributions and ablations of its page, and the page: its size, and the
time that headless Chromium takes from the request to the last panel (with node and the packages
that `make test-web` installs; left out without). Random weights: what is computed does not depend
on them.

    benchmarks/understanding.py                    64, 256 and 512 tokens
    benchmarks/understanding.py --lengths 128
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _workers import processor

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.understanding import explore
from gpt2_keras.understanding.panels import with_panels

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "understanding.json"
WEB = ROOT / "export" / "on_device" / "web"
REPEATS = 3  # of exploring, and of opening the page


def seconds(function: Any) -> tuple[float, Any]:
    """Returns the time that a call takes, and what it returns."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def opening_milliseconds(page: Path) -> float | None:
    """Returns the median time until the page is there, or None without a browser."""
    node = shutil.which("node")
    if node is None or not (WEB / "node_modules" / "puppeteer-core").is_dir():
        print("no browser: the time to open is left out", file=sys.stderr)
        return None
    times = []
    for _ in range(REPEATS):
        command = [node, str(WEB / "test" / "panels.mjs"), page.as_uri(), "[]"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        times.append(json.loads(done.stdout)["milliseconds"])
    return statistics.median(times)


def measure(model: GPT2LM, length: int) -> dict[str, Any]:
    """Returns the figures of a text of a number of tokens."""
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, length).tolist()
    explored = [seconds(lambda: explore(model, ids)) for _ in range(REPEATS)]
    exploration = explored[-1][1]
    panel_seconds, exploration = seconds(lambda: with_panels(model, exploration))
    with tempfile.TemporaryDirectory() as folder:
        page = exploration.to_html(Path(folder) / "page.html")
        return {
            "explore_seconds": statistics.median(each for each, _ in explored),
            "panels_seconds": panel_seconds,
            "page_bytes": page.stat().st_size,
            "opening_milliseconds": opening_milliseconds(page),
        }


def markdown(results: dict[str, Any]) -> str:
    """Returns the table of docs/understanding.md."""
    lines = [
        "| tokens | `explore`, s | attributions and ablations, s | page, MB | opens in, s |",
        "|---|---|---|---|---|",
    ]
    for length, row in results["lengths"].items():
        opening = row["opening_milliseconds"]
        cells = [
            length,
            f"{row['explore_seconds']:.1f}",
            f"{row['panels_seconds']:.0f}",
            f"{row['page_bytes'] / 1e6:.1f}",
            "–" if opening is None else f"{opening / 1000:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 256, 512])
    args = parser.parse_args()
    model = GPT2LM(GPT2Config.gpt2())
    explore(model, [1, 2, 3])  # what is made once
    results: dict[str, Any] = {"processor": processor(), "lengths": {}}
    for length in args.lengths:
        results["lengths"][str(length)] = measure(model, length)
        print(markdown(results).splitlines()[-1], flush=True)
    RESULT.write_text(json.dumps(results, indent=2) + "\n")
    print(markdown(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
