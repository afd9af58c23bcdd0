"""Speed of the in-graph tokenizer beside its peers, in one run on one thread.

    python benchmarks/tokenizer.py --gpt2 DIR --text NAME=FILE … [--out FILE.json]

DIR holds OpenAI's `encoder.json` and `vocab.bpe`. Times are CPU time; every
ratio is the median of several rounds in which all take turns. KerasHub and its
graph path come in if they can be imported.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import tensorflow as tf
import tiktoken
import tokenizers
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.graph import GraphTokenizer
from gpt2_keras.tokenizer.litert import write_litert

ROOT = Path(__file__).resolve().parents[1]
PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
OURS = "gpt2_keras graph"
PROMPTS = {
    "20 tokens": "The quick brown fox jumps over the lazy dog. It was the best of times, it was",
    "500 tokens": "The quick brown fox jumps over the lazy dog. " * 50,
}
Run = Callable[[list[str]], Any]


def peers(folder: Path) -> tuple[dict[str, Run], dict[str, Callable[[tf.Tensor], Any]]]:
    """Returns what takes part, by name: functions of a list of texts; and those for tf.data."""
    graph = GraphTokenizer.from_tokenizer(GPT2Tokenizer.from_directory(folder))
    function = tf.function(graph.tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    encoder, merges = str(folder / "encoder.json"), str(folder / "vocab.bpe")
    openai = tiktoken.Encoding(
        "gpt2_local",
        pat_str=PATTERN,
        mergeable_ranks=data_gym_to_mergeable_bpe_ranks(merges, encoder),
        special_tokens={"<|endoftext|>": 50256},
    )
    rust = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(encoder, merges))
    rust.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    found: dict[str, Run] = {
        OURS: lambda texts: function(tf.constant(texts)),
        "tiktoken": lambda texts: [openai.encode_ordinary(text) for text in texts],
        "tokenizers": lambda texts: [rust.encode(text).ids for text in texts],
    }
    try:
        import keras_hub
    except ImportError:
        return found, {"gpt2_keras tf.data": function}
    ids = json.loads(Path(encoder).read_text(encoding="utf-8"))
    lines = Path(merges).read_text(encoding="utf-8").split("\n")[1:-1]
    hub = keras_hub.tokenizers.BytePairTokenizer(vocabulary=ids, merges=lines)
    found["KerasHub eager"] = hub
    hub_function = tf.function(hub, input_signature=[tf.TensorSpec([None], tf.string)])
    found["KerasHub graph"] = lambda texts: hub_function(tf.constant(texts))
    return found, {"gpt2_keras tf.data": function, "KerasHub tf.data": hub_function}


def dataset_seconds(
    texts: list[str], function: Callable[[tf.Tensor], Any], in_graph: float
) -> float:
    """Returns the CPU time of the texts through tf.data without that of a new iterator.

    So often that it takes about 2 seconds, if it takes `in_graph` seconds once.
    """
    more = 1 + int(2 / in_graph)

    def run(times: int) -> None:
        dataset = tf.data.Dataset.from_tensors(texts).repeat(times).map(function)
        for _ in dataset:
            pass

    return (
        cpu_seconds(functools.partial(run, 1 + more)) - cpu_seconds(functools.partial(run, 1))
    ) / more


def cpu_seconds(run: Callable[[], Any]) -> float:
    """Returns the CPU time of a call."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def measure(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Returns the median CPU time of each; all take turns."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(cpu_seconds(run))
    return {name: statistics.median(values) for name, values in times.items()}


def latency(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Returns milliseconds a prompt in a loaded SavedModel and in LiteRT, each in its process."""
    graph = GraphTokenizer.from_tokenizer(GPT2Tokenizer.from_directory(folder))
    with tempfile.TemporaryDirectory() as place:
        module = tf.Module()
        module.graph = graph
        module.tokenize = tf.function(
            lambda text: {"token_ids": graph.tokenize(text).to_tensor()},
            input_signature=[tf.TensorSpec([None], tf.string, name="text")],
        )
        tf.saved_model.save(module, f"{place}/model", signatures={"tokenize": module.tokenize})
        write_litert(graph, f"{place}/tokenizer.tflite")
        result = subprocess.run(
            [sys.executable, __file__, "--latency-of", place, "--rounds", str(rounds)],
            check=True,
            capture_output=True,
            text=True,
        )
    measured: dict[str, dict[str, float]] = json.loads(result.stdout.splitlines()[-1])
    return measured


def measure_latency(place: str, rounds: int) -> dict[str, dict[str, float]]:
    """Returns wall milliseconds: least of many calls, and first call."""
    from ai_edge_litert.interpreter import Interpreter

    begin = time.perf_counter()
    serve = tf.saved_model.load(f"{place}/model").signatures["tokenize"]
    load = time.perf_counter() - begin
    litert = Interpreter(f"{place}/tokenizer.tflite").get_signature_runner("tokenize")
    result: dict[str, dict[str, float]] = {
        "SavedModel": {"load": 1e3 * load},
        "LiteRT": {"file megabytes": Path(f"{place}/tokenizer.tflite").stat().st_size / 1e6},
    }
    for name, prompt in PROMPTS.items():
        text = tf.constant([prompt])
        data = np.frombuffer(prompt.encode(), np.uint8)
        calls = {
            "SavedModel": lambda t=text: serve(text=t),
            "LiteRT": lambda d=data: litert(text=d),
        }
        for runtime, call in calls.items():
            begin = time.perf_counter()
            call()
            result[runtime].setdefault("first call", 1e3 * (time.perf_counter() - begin))
            result[runtime][name] = 1e3 * min(_timed(call) for _ in range(30 * rounds))
    return result


def _timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpt2", type=Path, help="folder of encoder.json and vocab.bpe")
    parser.add_argument("--text", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/tokenizer.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=1.0, help="of each text, at most")
    parser.add_argument("--latency-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if options.latency_of:
        print(json.dumps(measure_latency(options.latency_of, options.rounds)))
        return
    if options.gpt2 is None or not options.text:
        parser.error("--gpt2 DIR and at least one --text NAME=FILE are needed")
    runs, mapped = peers(options.gpt2)
    bulk: dict[str, dict[str, float]] = {}
    for argument in options.text:
        name, _, file = argument.partition("=")
        data = Path(file).read_bytes()[: int(options.megabytes * 1e6)].decode(errors="ignore")
        # Passages of 4,000 characters: long enough for the work, not the call, to count.
        texts = [data[i : i + 4000] for i in range(0, len(data), 4000)]
        size = len(data.encode()) / 1e6
        calls = {key: functools.partial(run, texts) for key, run in runs.items()}
        seconds = measure(calls, options.rounds)
        for key, function in mapped.items():
            seconds[key] = statistics.median(
                dataset_seconds(texts, function, seconds[key.replace("tf.data", "graph")])
                for _ in range(options.rounds)
            )
        bulk[name] = {key: size / value for key, value in seconds.items()}
        print(f"\n{name}, {size:.2f} MB")
        for key, speed in sorted(bulk[name].items(), key=lambda item: -item[1]):
            print(f"  {key:20} {speed:7.2f} MB/s   ours is {bulk[name][OURS] / speed:6.2f} ×")
    delays = latency(options.gpt2, options.rounds)
    for runtime, values in delays.items():
        print(runtime, {key: round(value, 2) for key, value in values.items()})
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "versions": {
            "tensorflow": tf.__version__,
            "tiktoken": tiktoken.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "bulk_megabytes_per_cpu_second": bulk,
        "latency_milliseconds": delays,
    }
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
