"""Speed of the input pipeline alone, compared with a training step.

Windows of a corpus of 100 million random ids on disk, shuffled, and rows of made-up
instructions; by `tf.data`, and by the Keras dataset that is used where TensorFlow is not
installed. Each runs in its own process. Nothing is trained: a step's speed is that of
`benchmarks/training.py`. CPU time is that of all threads of the process.

    benchmarks/pipeline.py
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).resolve().parent / "results"
RESULT = RESULTS / "pipeline.json"
NUM_TOKENS, SHARD_TOKENS = 100_000_000, 25_000_000
# Context length and batch size; S and M are the shapes of benchmarks/training.py.
SHAPES = {"S": (256, 12), "M": (256, 4), "GPU": (1024, 32)}
NUM_EXAMPLES = 20_000
WARM_UP = 20  # batches
ENGINES = ("tf.data", "Keras")


def token_shards(folder: Path) -> Any:
    """Returns token shards of random ids."""
    from gpt2_keras.data import TokenShards

    source = np.random.default_rng(0)
    shards = []
    for number in range(NUM_TOKENS // SHARD_TOKENS):
        file = folder / f"{number}.bin"
        source.integers(0, 50257, SHARD_TOKENS, np.uint16).tofile(file)
        shards.append(np.asarray(np.memmap(file, np.uint16, mode="r")))
    return TokenShards(folder, {}, shards)


def datasets(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yields each case, with its dataset."""
    from gpt2_keras import GPT2Tokenizer
    from gpt2_keras.data import make_dataset, make_instruction_dataset

    tokens = token_shards(folder)
    for name, (context_length, batch_size) in SHAPES.items():
        data = make_dataset(tokens, context_length=context_length, batch_size=batch_size)
        yield f"windows, {name}", data
    context_length, batch_size = SHAPES["M"]
    examples = [
        {"prompt": f"{number:064d}", "completion": f"{number:0128d}"}
        for number in range(NUM_EXAMPLES)
    ]
    yield (
        "instructions, M",
        make_instruction_dataset(
            examples,
            GPT2Tokenizer.train(["0123456789"], vocab_size=257),
            context_length=context_length,
            batch_size=batch_size,
        ),
    )


def measure(data: Any, seconds: float) -> dict[str, float]:
    """Reads batches for some seconds; returns tokens per second of wall and of CPU time."""
    batches = data.as_numpy_iterator()
    for _ in range(WARM_UP):
        inputs, _ = next(batches)
    count, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        next(batches)
        count += 1
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    tokens = count * inputs.size
    return {"tokens_per_second": tokens / wall, "tokens_per_cpu_second": tokens / cpu}


def measure_all(engine: str, seconds: float) -> dict[str, dict[str, float]]:
    """Measures all cases in this process."""
    if engine == "Keras":
        os.environ["KERAS_BACKEND"] = "numpy"
        sys.modules["tensorflow"] = None  # type: ignore[assignment]  # as if not installed
    with tempfile.TemporaryDirectory() as folder:
        return {case: measure(data, seconds) for case, data in datasets(Path(folder))}


def step_speeds() -> dict[str, float]:
    """Returns the tokens per second and core of a training step, as measured before."""
    training = json.loads((RESULTS / "training.json").read_text(encoding="utf-8"))
    return {
        shape: table["gpt2_keras"]["tokens_per_second"] / training["cores"]
        for shape, table in training["shapes"].items()
    }


def markdown(result: dict[str, Any]) -> str:
    """Returns the table of docs/benchmarks.md."""
    lines = [
        "| Batches | `tf.data`, tokens/s | Keras, tokens/s "
        "| `tf.data`, fraction of a step's CPU time |",
        "|---|---|---|---|",
    ]
    for case, engines in result["cases"].items():
        shape = case.split(", ")[1]
        fast = engines["tf.data"]
        fraction = "–"
        if shape in result["step_tokens_per_cpu_second"]:
            step = result["step_tokens_per_cpu_second"][shape]
            fraction = f"{100 * step / fast['tokens_per_cpu_second']:.3f} %"
        context_length, batch_size = SHAPES[shape]
        lines.append(
            f"| {case}: {batch_size} × {context_length} | {fast['tokens_per_second']:,.0f} | "
            f"{engines['Keras']['tokens_per_second']:,.0f} | {fraction} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="figures are medians over them")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        print(json.dumps(measure_all(args.engine, args.seconds)))
        return
    command = [sys.executable, __file__, "--seconds", str(args.seconds), "--engine"]
    turns: dict[str, list[Any]] = {engine: [] for engine in ENGINES}
    for engine in ENGINES * args.rounds:
        done = subprocess.run(
            [*command, engine],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        )
        turns[engine].append(json.loads(done.stdout.splitlines()[-1]))
    first = turns[ENGINES[0]][0]
    cases = {
        case: {
            engine: {
                figure: statistics.median(turn[case][figure] for turn in turns[engine])
                for figure in first[case]
            }
            for engine in ENGINES
        }
        for case in first
    }
    result = {
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "step_tokens_per_cpu_second": step_speeds(),
        "cases": cases,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(markdown(result))


if __name__ == "__main__":
    main()
