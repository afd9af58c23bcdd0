"""Speed of the in-graph tokenizer and its peers, in one run on one thread.

    python benchmarks/tokenizer.py [--data DIR] [--text NAME=FILE …] [--out FILE.json]

DIR holds `gpt2/encoder.json`, `gpt2/vocab.bpe` and `text/*.txt`. By default it is
the folder in GPT2_KERAS_TEST_DATA, or else `shared/data` beside the checkout.
Code is Python's own standard library. Other scripts are sentences of random words
from `tests/tokenizer/multilingual.py`, always the same, and the tutors of Vim in
eight languages where they are installed.

Times are CPU time; every ratio is the median of several rounds in which all peers take
turns. KerasHub is included if it can be imported.
"""

import argparse
import functools
import json
import os
import random
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
from gpt2_keras.tokenizer.graph.litert import write_litert
from gpt2_keras.tokenizer.graph.tokenizer import GraphTokenizer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.tokenizer.multilingual import TEXTS  # noqa: E402 -- needs the path

PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
OURS = "gpt2_keras graph"
PROMPTS = {
    "20 tokens": "The quick brown fox jumps over the lazy dog. It was the best of times, it was",
    "500 tokens": "The quick brown fox jumps over the lazy dog. " * 50,
}
TEXT_FILES = ("text/tinyshakespeare.txt", "text/wikitext2-valid.txt")
TUTORS = ("ru", "uk", "bg", "el", "ja", "ko", "zh_cn", "vi")
Run = Callable[[list[str]], Any]


def bulk_texts(data: Path, extra: list[str]) -> dict[str, bytes]:
    """Returns the texts by name; those given as NAME=FILE come last."""
    texts = {
        "Shakespeare": (data / TEXT_FILES[0]).read_bytes(),
        "WikiText": (data / TEXT_FILES[1]).read_bytes(),
        "code": b"".join(
            path.read_bytes() for path in sorted(Path(random.__file__).parent.glob("*.py"))
        ),
        "other scripts, made up": made_up().encode(),
    }
    folders = sorted(Path("/usr/share/vim").glob("vim*/tutor"))
    files = [folder / f"tutor.{name}.utf-8" for folder in folders[-1:] for name in TUTORS]
    if files and all(file.is_file() for file in files):
        texts["other scripts, Vim tutors"] = b"".join(file.read_bytes() for file in files)
    for argument in extra:
        name, _, file = argument.partition("=")
        texts[name] = Path(file).read_bytes()
    return texts


def made_up(size: int = 200_000) -> str:
    """Returns `size` characters of sentences in 14 languages, a third of the words made up too.

    A made-up word is the beginning of one word and the end of another.
    """
    rng = random.Random(0)  # noqa: S311 -- no secrets
    parts: list[str] = []
    length = 0
    while length < size:
        words = rng.choice(list(TEXTS.values())).split(" ")
        for word in rng.choices(words, k=12):
            other = rng.choice(words)
            splits = rng.randrange(len(word)), rng.randrange(len(other))
            made = word[: splits[0]] + other[splits[1] :] if rng.random() < 1 / 3 else word
            parts.append(made + rng.choice([" ", " ", " ", "\n"]))
            length += len(parts[-1])
    return "".join(parts)


def peers(folder: Path) -> tuple[dict[str, Run], dict[str, Callable[[tf.Tensor], Any]]]:
    """Returns the peers by name: functions of a list of texts, and functions for tf.data."""
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
    """Returns the CPU time of the texts through tf.data, without that of creating an iterator.

    Repeats them for about a second, if one pass takes `in_graph` seconds.
    """
    more = 1 + int(1 / in_graph)

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
    """Returns the median CPU time of each; they take turns."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(cpu_seconds(run))
    return {name: statistics.median(values) for name, values in times.items()}


def latency(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Returns milliseconds per prompt in a loaded SavedModel and in LiteRT, in one process."""
    graph = GraphTokenizer.from_tokenizer(GPT2Tokenizer.from_directory(folder))
    with tempfile.TemporaryDirectory() as folder_name:
        module = tf.Module()
        module.graph = graph
        module.tokenize = tf.function(
            lambda text: {"token_ids": graph.tokenize(text).to_tensor()},
            input_signature=[tf.TensorSpec([None], tf.string, name="text")],
        )
        tf.saved_model.save(
            module, f"{folder_name}/model", signatures={"tokenize": module.tokenize}
        )
        write_litert(graph, f"{folder_name}/tokenizer.tflite")
        result = subprocess.run(
            [sys.executable, __file__, "--latency-of", folder_name, "--rounds", str(rounds)],
            check=True,
            capture_output=True,
            text=True,
        )
    measured: dict[str, dict[str, float]] = json.loads(result.stdout.splitlines()[-1])
    return measured


def measure_latency(folder: str, rounds: int) -> dict[str, dict[str, float]]:
    """Returns wall milliseconds: the minimum of many calls, and the first call."""
    from ai_edge_litert.interpreter import Interpreter

    begin = time.perf_counter()
    serve = tf.saved_model.load(f"{folder}/model").signatures["tokenize"]
    load = time.perf_counter() - begin
    litert = Interpreter(f"{folder}/tokenizer.tflite").get_signature_runner("tokenize")
    result: dict[str, dict[str, float]] = {
        "SavedModel": {"load": 1e3 * load},
        "LiteRT": {"file megabytes": Path(f"{folder}/tokenizer.tflite").stat().st_size / 1e6},
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
            result[runtime][name] = 1e3 * min(_timed(call) for _ in range(200 * rounds))
    return result


def memory_per_byte(folder: Path) -> dict[str, float]:
    """Returns the peak memory per byte of texts of 4 and 16 MB, each in its own process."""
    measured = {}
    for megabytes in (4, 16):
        command = [sys.executable, __file__, "--data", str(folder.parent)]
        command += ["--memory-of", str(megabytes)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        measured[f"{megabytes} MB"] = float(result.stdout.splitlines()[-1])
    return measured


def measure_memory(folder: Path, megabytes: int) -> float:
    """Returns the growth of the peak resident set size per byte of one text."""
    graph = GraphTokenizer.from_tokenizer(GPT2Tokenizer.from_directory(folder))
    function = tf.function(graph.tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    passage = bulk_texts(folder.parent, [])["Shakespeare"][:500_000]
    function(tf.constant([passage[:1000]]))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _kilobytes("VmRSS")
    function(tf.constant([passage * (2 * megabytes)]))
    return (_kilobytes("VmHWM") - before) * 1024 / (1e6 * megabytes)


def _kilobytes(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split(f"{name}:")[1].split()[0])


def _timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("GPT2_KERAS_TEST_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=default, help="folder of gpt2/ and text/")
    parser.add_argument("--text", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/tokenizer.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=0.5, help="of each text, at most")
    parser.add_argument("--latency-of", help=argparse.SUPPRESS)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if options.latency_of:
        print(json.dumps(measure_latency(options.latency_of, options.rounds)))
        return
    if options.memory_of:
        print(measure_memory(options.data / "gpt2", options.memory_of))
        return
    needed = ("gpt2/encoder.json", "gpt2/vocab.bpe", *TEXT_FILES)
    missing = [name for name in needed if not (options.data / name).is_file()]
    if missing:
        parser.error(f"{options.data} lacks {', '.join(missing)}: give the folder by --data")
    folder = options.data / "gpt2"
    runs, mapped = peers(folder)
    bulk: dict[str, dict[str, float]] = {}
    for name, content in bulk_texts(options.data, options.text).items():
        data = content[: int(options.megabytes * 1e6)].decode(errors="ignore")
        # Passages of 4,000 characters: long enough for the overhead of a call not to count.
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
        print(f"\n{name}, {size:.2f} MB", flush=True)
        for key, speed in sorted(bulk[name].items(), key=lambda item: -item[1]):
            print(f"  {key:20} {speed:7.2f} MB/s   our speed is {bulk[name][OURS] / speed:6.2f} ×")
    delays = latency(folder, options.rounds)
    for runtime, values in delays.items():
        print(f"\n{runtime}, milliseconds")
        for key, value in values.items():
            print(f"  {key:20} {value:8.2f}")
    memory = memory_per_byte(folder)
    print("\npeak memory, bytes per byte of text")
    for key, value in memory.items():
        print(f"  {key:20} {value:8.0f}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "versions": {
            "tensorflow": tf.__version__,
            "tiktoken": tiktoken.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "bulk_megabytes_per_cpu_second": bulk,
        "latency_milliseconds": delays,
        "memory_bytes_per_text_byte": memory,
    }
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
