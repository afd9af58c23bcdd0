"""Speed and peak memory of `prepare`, each case in a process of its own.

The text is that of the other benchmarks, repeated, and, as text that does not repeat, the
sources of the installed Python packages. Speed is megabytes of text per second of CPU time,
all threads together (`prepare` uses one), as the median of several rounds. `tokenizers`
alone, without reading or writing, is measured too, with one thread.

    benchmarks/prepare.py                 all cases, three rounds
    benchmarks/prepare.py --megabytes 20  smaller ones
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _workers import peak_megabytes

RESULT = Path(__file__).resolve().parent / "results" / "prepare.json"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
FILE_MEGABYTES = 10
MEGABYTE = 10**6


def repeated_text() -> Iterator[str]:
    """Yields Shakespeare and WikiText again and again."""
    while True:
        for file in sorted((SHARED / "text").glob("*.txt")):
            yield file.read_text(encoding="utf-8")


def sources() -> Iterator[str]:
    """Yields the Python files of the standard library and of the installed packages."""
    for name in ("stdlib", "purelib"):
        for file in sorted(Path(sysconfig.get_path(name)).rglob("*.py")):
            try:
                yield file.read_text(encoding="utf-8").replace("\0", "")
            except (OSError, UnicodeDecodeError):
                continue


def write_text(folder: Path, texts: Iterator[str], megabytes: int) -> None:
    """Writes text files of 10 MB."""
    left = megabytes * MEGABYTE
    for number in range(-(-megabytes // FILE_MEGABYTES)):
        room = min(left, FILE_MEGABYTES * MEGABYTE)
        with (folder / f"{number:05d}.txt").open("w", encoding="utf-8", newline="") as file:
            while room > 0:
                text = next(texts)[: max(room, 1)]
                room, left = room - file.write(text), left - len(text)


def write_rows(folder: Path, texts: Iterator[str], megabytes: int) -> None:
    """Writes JSONL files of rows of some 1000 characters."""
    left = megabytes * MEGABYTE
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        while left > 0:
            text = next(texts)
            for start in range(0, len(text), 1000):
                left -= file.write(json.dumps({"text": text[start : start + 1000]}) + "\n")


# Name: writer, texts, fraction of the megabytes, options.
CASES: dict[str, tuple[Any, Any, float, dict[str, Any]]] = {
    "repeated text, half the size": (write_text, repeated_text, 0.5, {}),
    "repeated text": (write_text, repeated_text, 1, {}),
    "sources of Python packages": (write_text, sources, 0.2, {}),
    "the same as JSONL rows": (write_rows, sources, 0.2, {}),
    "rows, cleaned, exact duplicates out, split": (
        write_rows,
        sources,
        0.2,
        {"clean": True, "nfc": True, "deduplicate": "exact", "validation_fraction": 0.01},
    ),
    "rows, near duplicates out": (write_rows, sources, 0.05, {"deduplicate": "near"}),
    "rows, BPE dropout": (write_rows, sources, 0.01, {"bpe_dropout": 0.1}),
}


def measure(case: str, folder: str) -> dict[str, float]:
    """Prepares a folder in this process."""
    from gpt2_keras.data import PreparationOptions, prepare
    from gpt2_keras.tokenizer import GPT2Tokenizer

    tokenizer = GPT2Tokenizer.from_directory(SHARED / "gpt2")
    files = sorted(Path(folder).iterdir())
    options = PreparationOptions(**CASES[case][3])
    with tempfile.TemporaryDirectory() as out:
        start, cpu = time.perf_counter(), time.process_time()
        tokens = prepare(files, tokenizer, Path(out) / "tokens", options)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    megabytes = sum(file.stat().st_size for file in files) / MEGABYTE
    return {
        "megabytes": megabytes,
        "tokens": len(tokens),
        "seconds": seconds,
        "megabytes_per_second": megabytes / seconds,
        "megabytes_per_cpu_second": megabytes / cpu,
        "peak_megabytes": peak_megabytes(),
    }


def measure_tokenizers(folder: str) -> float:
    """Returns the megabytes of text that `tokenizers` encodes per second of CPU time."""
    from gpt2_keras.tokenizer import GPT2Tokenizer

    tokenizer = GPT2Tokenizer.from_directory(SHARED / "gpt2")
    text = sorted(Path(folder).iterdir())[0].read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    chunks = ["".join(lines[start : start + 1000]) for start in range(0, len(lines), 1000)]
    cpu = time.process_time()
    for chunk in chunks:
        tokenizer.encode(chunk)
    return len(text.encode()) / MEGABYTE / (time.process_time() - cpu)


def run_alone(*words: str) -> Any:
    """Runs this program in a process of its own, with one thread of `tokenizers`."""
    environment = os.environ | {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, __file__, *words],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=200, help="of the largest case")
    parser.add_argument("--rounds", type=int, default=3, help="of each case; the median counts")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "DIR"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        case, folder = args.one
        print(json.dumps(measure(case, folder) if case in CASES else measure_tokenizers(folder)))
        return 0
    if not SHARED.is_dir():
        sys.exit(f"no {SHARED}: it must hold text/*.txt and gpt2/ with OpenAI's vocabulary")
    results: dict[str, Any] = {"load_average": os.getloadavg()[0], "cores": os.cpu_count()}
    for case, (write, texts, fraction, _) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), texts(), max(1, round(args.megabytes * fraction)))
            rounds = [run_alone("--one", case, folder) for _ in range(args.rounds)]
            rounds.sort(key=lambda row: row["megabytes_per_cpu_second"])
            results[case] = rounds[len(rounds) // 2]
            results[case]["megabytes_per_cpu_second_of_rounds"] = [
                row["megabytes_per_cpu_second"] for row in rounds
            ]
            if write is write_text and fraction < 1:
                speed = run_alone("--one", "tokenizers", folder)
                results[case]["tokenizers_megabytes_per_cpu_second"] = speed
        row = results[case]
        print(
            f"{case:44}{row['megabytes']:7.0f} MB {row['megabytes_per_cpu_second']:7.2f} MB per "
            f"CPU second, peak memory {row['peak_megabytes']:7.0f} MB",
            flush=True,
        )
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
