"""Training and generation on one GPU, side by side: gpt2_keras on JAX and its peers.

The shape is GPT-2 124M, context 1024. Training: products in bfloat16 and weights in float32,
random ids, AdamW and clipping as in `_trainers.py`; against plain PyTorch compiled as a whole, with
flash attention and fused AdamW, its vocabulary as it is and padded to 50304; transformers; KerasHub
on JAX. Generation: prompts of 128 tokens, 256 new ones, greedy, in bfloat16; against transformers
with its default cache and with its static one, which it compiles.

Each row runs in its own process, and the results are written after each: a peer that fails is a
row with its cause, and what no longer fits the time is a row that says so.

MFU, model FLOPs utilization, is the FLOP/s of the model's formula divided by the GPU's peak:
`flops_per_token` and `find_peak` of `gpt2_keras.runs.mfu`, which cites the sources. The use of the
memory's bandwidth counts the weights and the keys and values that each step must read.

There are no published results: it has not been run on a GPU so far.

    benchmarks/gpu.py                     at most 8 minutes
    benchmarks/gpu.py --minutes 30 --rows "train: gpt2_keras" "generate: gpt2_keras"
    benchmarks/gpu.py --tiny              a test run, also on a CPU, which writes no results

It needs JAX for the GPU (`pip install "jax[cuda13]"`) and PyTorch, and no TensorFlow.
"""

import argparse
import dataclasses
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from _turns import NAMES, Job, take_turn

OURS = "gpt2_keras_jax"
RESULT = Path(__file__).resolve().parent / "results" / "gpu.json"
GPT2 = Job(
    12, 12, 768, context_length=1024, batch_size=32, vocab_size=50257, steps=20, dtype="bfloat16"
)
TINY = Job(2, 2, 32, context_length=64, batch_size=2, vocab_size=65, steps=3, dtype="bfloat16")
NEW_TOKENS = 256
# Bytes/s of the memory of one GPU. Source: NVIDIA's data sheets.
BANDWIDTHS = {"B200": 8.0e12, "H200": 4.8e12, "H100 PCIe": 2.0e12, "H100": 3.35e12, "A100": 2.0e12}
NO_TIME = "not measured: the time was over"


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the tables: a peer, what it does, and its job."""

    task: str  # "train" or "generate"
    peer: str
    job: Job
    note: str = ""  # what is special about it

    @property
    def name(self) -> str:
        """The name in the tables and in the file of the results."""
        note = f", {self.note}" if self.note else ""
        return f"{self.task}: {NAMES[self.peer]}, batch {self.job.batch_size}{note}"


def rows_of(job: Job) -> list[Row]:
    """Returns all rows, the most important first: those in the front get the time."""
    padded = -(-job.vocab_size // 128) * 128
    longer = dataclasses.replace(job, batch_size=2 * job.batch_size)
    texts = dataclasses.replace(job, steps=min(NEW_TOKENS, job.context_length // 4))
    dropout = dataclasses.replace(job, dropout_rate=0.2)
    train = [
        Row("train", OURS, job),
        Row("train", "torch_compile", dataclasses.replace(job, vocab_size=padded), "padded"),
        Row("train", OURS, longer),
        Row("train", "torch_compile", dataclasses.replace(longer, vocab_size=padded), "padded"),
        Row("train", OURS, dropout, "dropout 0.2"),
    ]
    peers = (OURS, "transformers", "transformers_static")
    generate = [
        Row("generate", peer, dataclasses.replace(texts, batch_size=size))
        for size in (1, 64, 8)
        for peer in peers
    ]
    products, everything = (dataclasses.replace(job, remat=remat) for remat in ("products", True))
    others = [
        Row("train", OURS, products, "remat='products'"),
        Row("train", OURS, everything, "remat"),
        Row("train", "torch_compile", job),
        Row("train", "transformers", job),
        Row("train", "keras_hub_jax", job),
    ]
    return [*train, *generate, *others]


def measure(
    rows: list[Row], minutes: float, result: dict[str, Any], *, keep: bool
) -> dict[str, Any]:
    """Measures rows until the time is over; writes the results after each if they are kept."""
    deadline, longest = time.monotonic() + 60 * minutes, 0.0
    for row in rows:
        left = deadline - time.monotonic()
        if left < longest / 2:
            result["rows"][row.name] = {"error": NO_TIME}
            continue
        print(row.name, file=sys.stderr, flush=True)
        begin = time.monotonic()
        found = take_turn(row.peer, row.job, task=row.task, timeout=left)
        longest = max(longest, time.monotonic() - begin)
        found |= {"task": row.task, "peer": row.peer, "batch_size": row.job.batch_size}
        result["rows"][row.name] = found | figures(row, found)
        if "error" in found:
            print(f"    failed: {found['error'].splitlines()[-1]}", file=sys.stderr, flush=True)
        if keep:
            RESULT.parent.mkdir(exist_ok=True)
            RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def figures(row: Row, found: dict[str, Any]) -> dict[str, float]:
    """Returns the fractions of what the device could do."""
    if "error" in found or "device" not in found:
        return {}
    # Imported late: JAX may allocate the GPU's memory on import.
    from gpt2_keras import GPT2Config
    from gpt2_keras.runs.mfu import GPU_PEAKS, find_peak, flops_per_token

    device = found["device"]
    config = GPT2Config(
        **{**row.job.shape(), "vocab_size": min(row.job.vocab_size, GPT2.vocab_size)}
    )
    if row.task == "train" and any(name in device for name in GPU_PEAKS):
        peak = find_peak(row.job.dtype, device=device).flops
        return {"mfu": found["tokens_per_second"] * flops_per_token(config) / peak}
    bandwidth = next((speed for name, speed in BANDWIDTHS.items() if name in device), None)
    if row.task == "train" or bandwidth is None:
        return {}
    length = config.context_length // 8 + row.job.steps / 2  # on the average
    cached = 2 * config.num_layers * config.hidden_dim * length * row.job.batch_size
    read = 2 * (config.num_parameters + cached) * found["steps_per_second"]
    return {"bandwidth": read / bandwidth}


def markdown(result: dict[str, Any]) -> str:
    """Returns the tables of the results."""
    rows = result["rows"]
    device = next((row["device"] for row in rows.values() if "device" in row), "CPU")
    lines = [f"{device}", ""]
    for task, rate, fraction in (
        ("train", "tokens_per_second", "mfu"),
        ("generate", "steps_per_second", "bandwidth"),
    ):
        unit = "tokens/s | MFU" if task == "train" else "tokens/s of each text | of the bandwidth"
        lines += [f"| {task} | {unit} | memory, GB | first call, s |", "|---" * 5 + "|"]
        for name, row in rows.items():
            if not name.startswith(f"{task}: "):
                continue
            shown = name.removeprefix(f"{task}: ")
            if rate not in row:
                lines.append(f"| {shown} | {row['error'].splitlines()[-1][:120]} | | | |")
                continue
            ours = rows.get(own_row(name), {}).get(rate)
            ratio = f" ({ours / row[rate]:.2f} ×)" if ours else ""
            used = f"{row[fraction]:.1%}" if fraction in row else "–"
            memory = row.get("peak_device_megabytes")
            cells = [f"{row[rate]:.0f}{ratio}", used, f"{memory / 1024:.1f}" if memory else "–"]
            lines.append(f"| {shown} | {' | '.join(cells)} | {row['first_step_seconds']:.1f} |")
        lines.append("")
    return "\n".join(lines)


def own_row(name: str) -> str:
    """Returns the name of our row that a peer's is compared with: of the same task and batch."""
    task, rest = name.split(": ", 1)
    batch = rest.split(", batch ")[1].split(",")[0]
    return f"{task}: {NAMES[OURS]}, batch {batch}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=7.5, help="start no row after that")
    parser.add_argument("--rows", nargs="+", default=[""], help="only rows whose name begins so")
    parser.add_argument("--tiny", action="store_true", help="a tiny model")
    args = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    if not args.tiny and not shutil.which("nvidia-smi"):
        print("no GPU here (no nvidia-smi): nothing measured. Try --tiny", file=sys.stderr)
        return 0
    every = rows_of(TINY if args.tiny else GPT2)
    rows = [row for row in every if row.name.startswith(tuple(args.rows))]
    if not rows:
        parser.error(f"no row begins so; there are: {'; '.join(row.name for row in every)}")
    result = measure(rows, args.minutes, {"rows": {}}, keep=not args.tiny)
    print(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
