"""Speed on a device's runtimes, side by side: LiteRT, LiteRT-LM, CTranslate2, llama.cpp.

GPT-2 124M with random weights, a context of 256 tokens, one thread and two. Prompt 32 and 128
new tokens; prefill is the time to the first token, decoding that of the others: of our `.tflite`
token by token from the host (`prefill` and `decode`), and by the decoding loop inside the file
(`generate`). KerasHub's file has no cache, so each token processes the whole text again; only
some of its steps are timed. Peers run in their own processes and take turns; figures are medians.
A peer that is not installed is left out.

llama.cpp: `CMAKE_ARGS=-DGGML_NATIVE=ON pip install llama-cpp-python gguf`, which compiles it.
In a virtual machine whose processor announces AMX but does not run it, q8_0 crashes; then add
`-DCMAKE_C_FLAGS=-mno-amx-int8 -DCMAKE_CXX_FLAGS=-mno-amx-int8` to the arguments.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _device_peers import NEW_TOKENS, PEERS, PROMPT_LENGTH, load, prepared
from _workers import Worker, peak_megabytes, serve

RESULT = Path(__file__).resolve().parent / "results" / "on_device.json"


def work(peer: str, path: str, threads: str) -> None:
    """Answers each request with the seconds of one turn."""

    def start() -> tuple[Any, Callable[[Any], Any]]:
        started = time.perf_counter()
        run = load(peer, path, int(threads))
        first = time.perf_counter() - started

        def answer(_: Any) -> dict[str, float]:
            return run() | {"peak_megabytes": peak_megabytes()}

        return {"first_token": first}, answer

    serve(start)


def size_of(path: Path) -> int:
    """Returns the size of a file, or of all files in a directory, in bytes."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def measure(paths: dict[str, Path], threads: int, rounds: int) -> dict[str, dict[str, float]]:
    """Measures the peers in turns; returns the figures of each."""
    workers = {
        peer: Worker(__file__, [peer, str(path), str(threads)]) for peer, path in paths.items()
    }
    for peer in [peer for peer, worker in workers.items() if worker.first is None]:
        print(f"{peer} is left out: it did not load; SHOW=1 shows why", file=sys.stderr)
        del workers[peer]
    turns: dict[str, list[dict[str, float]]] = {peer: [] for peer in workers}
    for turn in range(rounds):
        for peer, worker in workers.items():
            what = f"{peer}, {threads} threads, round {turn + 1}/{rounds}"
            print(what, file=sys.stderr)
            turns[peer].append(worker.ask("go"))
    rows = {}
    for peer, answers in turns.items():
        keys = ("prefill", "decode", "generate")
        row = {key: statistics.median(answer[key] for answer in answers) for key in keys}
        row["peak_megabytes"] = max(answer["peak_megabytes"] for answer in answers)
        row["megabytes"] = size_of(paths[peer]) / 1e6
        rows[peer] = row | workers[peer].first
        workers[peer].close()
    return rows


def markdown(result: dict[str, Any]) -> str:
    """Returns the table of docs/benchmarks.md, with ratios to our file of the same weight type."""
    heads = "threads | prefill, tokens/s | decode, tokens/s | `generate`, tokens/s"
    lines = [
        f"| On a device | {heads} | MB on disk | MB at peak | first token, s |",
        "|---" * 8 + "|",
    ]
    counts = {"prefill": PROMPT_LENGTH, "decode": NEW_TOKENS - 1, "generate": NEW_TOKENS - 1}
    for threads, rows in result["threads"].items():
        for peer, row in rows.items():
            ours = rows.get(PEERS[peer].ours, row)
            speeds = [
                f"{count / row[key]:.{0 if key == 'prefill' else 1}f}"
                + (f" ({row[key] / ours[key]:.2f} ×)" if ours is not row else "")
                for key, count in counts.items()
            ]
            cells = [
                threads,
                *speeds,
                f"{row['megabytes']:.1f}",
                f"{row['peak_megabytes']:.0f}",
                f"{row['first_token']:.1f}",
            ]
            lines.append(f"| {PEERS[peer].name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS, metavar="PEER")
    parser.add_argument("--folder", type=Path, help="where files are kept for another run")
    parser.add_argument("--out", type=Path, default=RESULT, help="JSON file of the results")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(*args.work)
        return
    with tempfile.TemporaryDirectory() as name:
        paths = prepared(args.folder or Path(name), args.peers)
        measured = {str(count): measure(paths, count, args.rounds) for count in args.threads}
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(json.dumps({"threads": measured}, indent=2) + "\n", encoding="utf-8")
    print(markdown({"threads": measured}))


if __name__ == "__main__":
    main()
