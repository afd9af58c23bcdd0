"""Speed of training on one GPU, side by side: gpt2_keras on JAX and `torch.compile`.

GPT-2 124M, context 1024, products in bfloat16 and weights in float32, no dropout; random
ids, AdamW and clipping as in `_trainers.py`. The PyTorch peer is plain PyTorch compiled as
a whole, with flash attention (`scaled_dot_product_attention`) and fused AdamW. Each peer
trains with the largest batch, a power of two, that fits into the GPU's memory,
found by doubling. Then they take turns, each turn in its own process; figures are medians.

MFU, model FLOPs utilization, is the FLOP/s of the model's formula divided by the GPU's peak:
`flops_per_token` and `find_peak` of `gpt2_keras.runs.mfu`, which cites the sources.

There are no published results: it has not been run on a GPU so far.

    benchmarks/gpu.py                     half an hour on a GPU
    benchmarks/gpu.py --rounds 1 --batch-sizes 64 128
    benchmarks/gpu.py --tiny              a test run, also on a CPU, which writes no results

It needs JAX for the GPU (`pip install "jax[cuda13]"`) and PyTorch, and no TensorFlow.
"""

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from _turns import NAMES, Job, take_turn

OURS = "gpt2_keras_jax"
RESULT = Path(__file__).resolve().parent / "results" / "gpu.json"
GPT2 = Job(
    12, 12, 768, context_length=1024, batch_size=8, vocab_size=50257, steps=20, dtype="bfloat16"
)
TINY = Job(2, 2, 32, context_length=16, batch_size=1, vocab_size=65, steps=2, dtype="bfloat16")
FULL = ("RESOURCE_EXHAUSTED", "out of memory", "OutOfMemory")
# By default JAX allocates three quarters of a GPU; older versions read the second name.
ALL_MEMORY = {"XLA_CLIENT_MEM_FRACTION": "0.95", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95"}


def try_batch(peer: str, job: Job) -> dict[str, Any] | None:
    """Returns a turn's figures, or None if the batch does not fit; exits on any other failure."""
    print(f"{NAMES[peer]}, batch {job.batch_size}", file=sys.stderr, flush=True)
    answer = take_turn(peer, job, **ALL_MEMORY)
    if "error" not in answer:
        print(f"    {answer['tokens_per_second']:.0f} tokens/s", file=sys.stderr, flush=True)
        return answer
    if any(message in answer["error"] for message in FULL):
        print("    does not fit", file=sys.stderr, flush=True)
        return None
    sys.exit(f"{answer['error']}\nfailed: {peer}, batch {job.batch_size}")


def measure(
    peers: list[str], job: Job, batch_sizes: list[int], rounds: int
) -> dict[str, dict[str, Any]]:
    """Finds each peer's largest batch, then measures the peers in turns, each with its own."""
    fitting: dict[str, dict[int, dict[str, Any]]] = {}
    for peer in peers:
        fitting[peer] = {}
        for batch_size in batch_sizes:
            answer = try_batch(peer, dataclasses.replace(job, batch_size=batch_size))
            if answer is None:
                break
            fitting[peer][batch_size] = answer
        if not fitting[peer]:
            sys.exit(f"{peer}: not even a batch of {batch_sizes[0]} fits. Use --batch-sizes")
    turns = {peer: [answers[max(answers)]] for peer, answers in fitting.items()}
    for _ in range(rounds - 1):
        for peer, answers in fitting.items():
            answer = try_batch(peer, dataclasses.replace(job, batch_size=max(answers)))
            turns[peer] += [answer] if answer else []
    table = {}
    for peer, rows in turns.items():
        row = {"batch_size": max(fitting[peer])}
        for figure in ("tokens_per_second", "first_step_seconds", "peak_device_megabytes"):
            if figure in rows[0]:
                row[figure] = statistics.median(answer[figure] for answer in rows)
        row["tokens_per_second_by_batch_size"] = {
            size: answer["tokens_per_second"] for size, answer in fitting[peer].items()
        }
        table[peer] = row | {"device": rows[0].get("device", "")}
    return table


def utilization(job: Job, device: str, stated: float | None) -> dict[str, Any]:
    """Returns the FLOPs per token and the peak, which MFU is computed from."""
    # Imported late: JAX may allocate the GPU's memory on import.
    from gpt2_keras import GPT2Config
    from gpt2_keras.runs.mfu import find_peak, flops_per_token

    peak = find_peak(job.dtype, stated, device=device)
    flops = flops_per_token(GPT2Config(**job.shape()))
    return {"flops_per_token": flops, "peak_flops": peak.flops, "peak": str(peak)}


def markdown(result: dict[str, Any]) -> str:
    """Returns the table of the results."""
    peers = result["peers"]
    device = next(iter(peers.values()))["device"]
    lines = [
        f"| {device or 'CPU'} | batch | tokens/s | MFU | memory, GB | first step, s |",
        "|---" * 6 + "|",
    ]
    ours = peers.get(OURS, {}).get("tokens_per_second")
    for peer, row in peers.items():
        speed = row["tokens_per_second"]
        shown = f"{speed:.0f}" + (f" ({ours / speed:.2f} ×)" if ours else "")
        mfu = f"{speed * result['flops_per_token'] / result['peak_flops']:.1%}"
        memory = row.get("peak_device_megabytes")
        cells = [str(row["batch_size"]), shown, mfu, f"{memory / 1024:.1f}" if memory else "–"]
        lines.append(f"| {NAMES[peer]} | {' | '.join(cells)} | {row['first_step_seconds']:.1f} |")
    return "\n".join([*lines, "", f"Peak: {result['peak']}."]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=[OURS, "torch_compile"])
    sizes = [2**power for power in range(3, 11)]
    parser.add_argument(
        "--batch-sizes",
        nargs="+",
        type=int,
        default=sizes,
        help="batch sizes to try, in rising order",
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each peer")
    parser.add_argument("--peak-flops", type=float, help="peak FLOP/s of a GPU not in the table")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, batches of 1 and 2")
    args = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    job, batch_sizes = (TINY, [1, 2]) if args.tiny else (GPT2, sorted(args.batch_sizes))
    if not args.tiny and not shutil.which("nvidia-smi"):
        print("no GPU here (no nvidia-smi): nothing measured. Try --tiny", file=sys.stderr)
        return 0
    for peer in () if args.tiny else args.peers:
        if "device" not in (try_batch(peer, TINY) or {}):
            sys.exit(f"{peer} does not find the GPU: install its package for this GPU")
    peers = measure(args.peers, job, batch_sizes, args.rounds)
    device = next(iter(peers.values()))["device"]
    result = {**utilization(job, device, args.peak_flops), "peers": peers}
    if not args.tiny:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
