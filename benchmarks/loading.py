"""Time and peak memory of loading, side by side: gpt2_keras, transformers (PyTorch), KerasHub.

All load one directory of Hugging Face's layout: the shape of a published GPT-2, random
weights. Each load runs in its own process, and the peers take turns, so that other work on
the machine affects all of them. A peer that is not installed is left out with a message:
`pip install "gpt2-keras[bench]"` installs all.

The time begins after the imports and ends with the model in memory; "ready" ends with the
first logits of a short text, since a peer may load lazily. The peak is the
largest memory of the process above what it had before the load, as a multiple of the weights'
size in the model's dtype.

    benchmarks/loading.py                                     gpt2, float32
    benchmarks/loading.py --size gpt2_xl --dtype bfloat16     1.5 billion weights, 3.1 GB
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

RESULT = Path(__file__).resolve().parent / "results" / "loading.json"
PEERS = {"gpt2_keras": "tensorflow", "transformers": "torch", "keras_hub": "keras_hub"}
NAMES = {
    "gpt2_keras": "gpt2_keras",
    "transformers": "transformers (PyTorch)",
    "keras_hub": "KerasHub",
}
DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
IDS = np.arange(8, dtype="int32")[None]


def load_gpt2_keras(directory: str, dtype: str) -> Callable[[], Any]:
    from gpt2_keras import GPT2LM

    model = GPT2LM.from_preset(directory, dtype=dtype)
    return lambda: np.asarray(model(IDS, num_logits=1))


def load_transformers(directory: str, dtype: str) -> Callable[[], Any]:
    import torch
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(directory, dtype=getattr(torch, dtype)).eval()

    def run() -> Any:
        with torch.no_grad():
            return model(torch.tensor(IDS).long(), logits_to_keep=1).logits

    return run


def load_keras_hub(directory: str, dtype: str) -> Callable[[], Any]:
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone.from_preset(directory, dtype=dtype)
    inputs = {"token_ids": IDS, "padding_mask": np.ones_like(IDS)}

    def run() -> Any:
        states = backbone(inputs, training=False)
        return np.asarray(backbone.token_embedding(states[:, -1:], reverse=True))

    return run


def import_peer(peer: str) -> None:
    """Imports a peer and initializes the devices, which do not count as loading."""
    if peer == "transformers":
        import torch
        from transformers import GPT2LMHeadModel  # noqa: F401

        torch.zeros(1)
        return
    import keras

    keras.ops.zeros(1)
    importlib.import_module(peer)


def memory(key: str) -> int:
    """Returns a line of this process's status, in bytes: VmRSS now, or its peak, VmHWM."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def measure(peer: str, directory: str, dtype: str) -> dict[str, float]:
    """Loads once in this process."""
    import_peer(peer)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak; see proc(5)
    start = time.perf_counter()
    run = globals()[f"load_{peer}"](directory, dtype)
    loaded = time.perf_counter()
    run()
    ready = time.perf_counter()
    return {
        "load_seconds": loaded - start,
        "ready_seconds": ready - start,
        "peak_bytes": memory("VmHWM") - before,
    }


def write_checkpoint(directory: Path, size: str, dtype: str) -> int:
    """Writes a directory with random weights; returns the number of weights."""
    from safetensors.numpy import save_file

    from gpt2_keras import GPT2LM, GPT2Config
    from gpt2_keras.checkpoints import huggingface
    from gpt2_keras.checkpoints.json_files import write_json
    from gpt2_keras.layers.initializers import uninitialized_weights

    config = GPT2Config.from_size(size)
    random = np.random.default_rng(0)
    noise = (random.normal(size=1 << 20) * 0.02).astype(DTYPES[dtype])
    with uninitialized_weights():  # costs no memory until it is written to
        stored = huggingface.stored_variables(GPT2LM(config))
    weights = {name: np.resize(noise, variable.shape) for name, variable in stored.items()}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    write_json(directory / "config.json", huggingface.config_to_json(config, end_token_id=50256))
    return sum(array.size for array in weights.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="gpt2", help="gpt2, gpt2_medium, gpt2_large or gpt2_xl")
    parser.add_argument("--dtype", default="float32", choices=list(DTYPES), help="file and model")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("PEER", "DIR"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one, args.dtype)))
        return 0
    peers = [peer for peer, needs in PEERS.items() if importlib.util.find_spec(needs)]
    for peer in set(PEERS) - set(peers):
        print(f"{peer} is not installed: left out", file=sys.stderr)
    runs: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
    with tempfile.TemporaryDirectory() as folder:
        num_bytes = write_checkpoint(Path(folder), args.size, args.dtype)
        num_bytes *= np.dtype(DTYPES[args.dtype]).itemsize
        for _ in range(args.repeats):
            for peer in peers:
                command = [sys.executable, __file__, "--dtype", args.dtype, "--one", peer, folder]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                runs[peer].append(json.loads(done.stdout.splitlines()[-1]))
    medians = {
        peer: {key: statistics.median(run[key] for run in made) for key in made[0]}
        for peer, made in runs.items()
    }
    keep(f"{args.size} {args.dtype}", {"weights_bytes": num_bytes, "medians": medians})
    print(markdown(json.loads(RESULT.read_text())))
    return 0


def markdown(results: dict[str, Any]) -> str:
    """Returns the table of docs/benchmarks.md."""
    lines = ["| Loading | weights, GB | peer | load, s | first logits, s | peak, × weights |"]
    lines.append("|---" * 6 + "|")
    for case, result in results.items():
        size = result["weights_bytes"]
        for peer, row in result["medians"].items():
            cells = [
                case,
                f"{size / 1e9:.2f}",
                NAMES[peer],
                f"{row['load_seconds']:.1f}",
                f"{row['ready_seconds']:.1f}",
                f"{row['peak_bytes'] / size:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def keep(case: str, result: dict[str, Any]) -> None:
    """Updates the file of results with a case; other cases stay as they are."""
    results = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({**results, case: result}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
