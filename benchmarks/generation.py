"""Speed of generation, side by side: gpt2_keras, KerasHub, transformers (PyTorch), CTranslate2.

All load one model directory: the shape of GPT-2 124M with random weights, float32.
Each peer runs in its own process; their turns alternate, so that other work on the
machine affects all of them. A peer that is not installed is left out with a message:
`pip install "gpt2-keras[bench]"` installs all.

Prefill is the time to the first token; decoding the time of the others. Decoding is greedy,
and no peer stops early. Figures are medians; ratios are our speed divided by theirs. A
decoding step must read every weight once, so batch 1 is also given as a fraction of the
measured memory bandwidth.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from _workers import Worker, peak_megabytes, serve, write_model

RESULT = Path(__file__).resolve().parent / "results" / "generation.json"
PEERS = (
    "gpt2_keras",
    "keras_hub",
    "transformers",
    "ctranslate2",
    "gpt2_keras_jit",
    "gpt2_keras_bfloat16",
    "ctranslate2_int8",
)
NAMES = {
    "gpt2_keras": "gpt2_keras",
    "keras_hub": "KerasHub",
    "transformers": "transformers (PyTorch)",
    "ctranslate2": "CTranslate2",
    "gpt2_keras_jit": "gpt2_keras, `jit_compile=True`",
    "gpt2_keras_bfloat16": "gpt2_keras, bfloat16",
    "ctranslate2_int8": "CTranslate2, int8",
}
WEIGHTS_FILE_BYTES = 4 * 124_439_808  # GPT-2 124M in float32
CASES = {  # name: (batch, prompt tokens, new tokens)
    "batch 1, prompt 32, 128 new": (1, 32, 128),
    "batch 1, prompt 512, 32 new": (1, 512, 32),
    "batch 8, prompt 32, 128 new": (8, 32, 128),
}
Generate = Callable[[np.ndarray, int], Any]


def load_gpt2_keras(
    directory: str, dtype: str = "float32", *, jit_compile: bool = False
) -> Generate:
    from gpt2_keras import GPT2LM
    from gpt2_keras.generation.compiled import compiled
    from gpt2_keras.generation.logits_processors import processor_tensors
    from gpt2_keras.generation.padding import pad
    from gpt2_keras.generation.prefix_cache import no_prefix
    from gpt2_keras.generation.sampler import Sampler, sampling_tensors

    model = GPT2LM.from_preset(directory, dtype=dtype)
    functions = compiled(model, jit_compile=jit_compile)
    vocab_size, end = model.config.vocab_size, model.require_tokenizer().end_token_id
    prefix = no_prefix(model)

    def generate(ids: np.ndarray, count: int) -> Any:
        processors = processor_tensors(vocab_size, [end], min_new_tokens=count)
        settings = sampling_tensors(Sampler(0.0), np.zeros(len(ids), "int32")), processors
        rows = pad(ids.tolist(), end, side="left")
        state = functions.start(*rows, *settings, np.int32(count), prefix)
        if count == 1:
            return np.asarray(state.last_ids)
        return np.asarray(functions.advance(state, *settings, np.int32(count - 1))[0])

    return generate


def load_gpt2_keras_jit(directory: str) -> Generate:
    return load_gpt2_keras(directory, jit_compile=True)


def load_gpt2_keras_bfloat16(directory: str) -> Generate:
    return load_gpt2_keras(directory, "bfloat16")


def load_keras_hub(directory: str) -> Generate:
    import keras_hub

    model = keras_hub.models.GPT2CausalLM.from_preset(directory, preprocessor=None)

    def generate(ids: np.ndarray, count: int) -> Any:
        batch, time_steps = ids.shape
        token_ids = np.zeros((batch, time_steps + count), "int32")
        token_ids[:, :time_steps] = ids
        mask = np.zeros_like(token_ids, bool)
        mask[:, :time_steps] = True
        inputs = {"token_ids": token_ids, "padding_mask": mask}
        return model.generate(inputs, stop_token_ids=None)["token_ids"]

    model.compile(sampler="greedy")
    return generate


def load_transformers(directory: str) -> Generate:
    import torch
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(directory).eval()

    def generate(ids: np.ndarray, count: int) -> Any:
        with torch.inference_mode():
            return model.generate(
                torch.tensor(ids),
                attention_mask=torch.ones(ids.shape, dtype=torch.long),
                max_new_tokens=count,
                min_new_tokens=count,
                do_sample=False,
                pad_token_id=0,
            )

    return generate


def load_ctranslate2(directory: str, compute_type: str = "float32") -> Generate:
    import ctranslate2

    converted = Path(directory) / f"ctranslate2-{compute_type}"
    if not converted.exists():
        converter = ctranslate2.converters.TransformersConverter(directory)
        converter.convert(str(converted), quantization=compute_type)
    generator = ctranslate2.Generator(str(converted), intra_threads=2, compute_type=compute_type)
    words = np.array(json.loads((converted / "vocabulary.json").read_text()))

    def generate(ids: np.ndarray, count: int) -> Any:
        return generator.generate_batch(
            words[ids].tolist(),
            max_length=count,
            min_length=count,
            sampling_topk=1,
            include_prompt_in_result=False,
        )

    return generate


def load_ctranslate2_int8(directory: str) -> Generate:
    return load_ctranslate2(directory, "int8")


def work(peer: str, directory: str) -> None:
    """Answers each case with its seconds."""

    def start() -> tuple[Any, Callable[[Any], Any]]:
        started = time.perf_counter()
        generate = globals()[f"load_{peer}"](directory)
        random = np.random.default_rng(0)

        def seconds(batch: int, time_steps: int, count: int) -> float:
            ids = random.integers(0, 50_000, (batch, time_steps)).astype("int32")
            start = time.perf_counter()
            generate(ids, count)
            return time.perf_counter() - start

        def answer(case: tuple[int, int, int]) -> dict[str, float]:
            batch, time_steps, count = case
            prefill = seconds(batch, time_steps, 1)
            everything = seconds(batch, time_steps, count)
            return {"prefill": prefill, "all": everything, "peak_megabytes": peak_megabytes()}

        seconds(1, 32, 1)
        return {"load_and_first_token": time.perf_counter() - started}, answer

    serve(start)


def bytes_per_second() -> float:
    """Returns the memory bandwidth of two threads: dot products of 1 GiB with itself."""
    array = np.ones(2**28, "float32")

    def once() -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda part: np.dot(part, part), np.split(array, 16)))
        return array.nbytes / (time.perf_counter() - start)

    return max(once() for _ in range(5))


def bare_tensorflow_megabytes() -> float:
    """Returns the peak memory of a process that only adds two numbers."""
    code = (
        "import tensorflow as tf; tf.add(1, 1)\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(answer.stdout.split()[-1]) / 1024


def measure(workers: dict[str, Worker], rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Measures the peers in turns; returns tokens per second by case and peer."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for name, case in CASES.items():
        batch, time_steps, count = case
        answers: dict[str, list[dict[str, float]]] = {peer: [] for peer in workers}
        for turn in range(rounds + 1):
            for peer, worker in workers.items():
                print(f"{name}: {peer}, round {turn}/{rounds}", file=sys.stderr)
                answer = worker.ask(case)
                if turn:  # the first compiles
                    answers[peer].append(answer)
        table[name] = {}
        for peer, rows in answers.items():
            prefill = statistics.median(row["prefill"] for row in rows)
            decode = statistics.median(row["all"] - row["prefill"] for row in rows)
            table[name][peer] = {
                "prefill_tokens_per_second": batch * time_steps / prefill,
                "decode_tokens_per_second": batch * (count - 1) / decode,
                "peak_megabytes": max(row["peak_megabytes"] for row in rows),
            }
    return table


def markdown(result: dict[str, Any]) -> str:
    """Returns the tables of docs/benchmarks.md."""
    cases = result["cases"]
    bandwidth_limit = result["memory_bytes_per_second"] / WEIGHTS_FILE_BYTES  # steps per second
    first = result["load_and_first_token_seconds"]
    lines = []
    for title, key in (("Decoding", "decode"), ("Prefill", "prefill")):
        last = "of the bandwidth" if key == "decode" else "first token, s"
        lines += [f"| {title}, tokens/s | {' | '.join(cases)} | {last} |", "|---" * 5 + "|"]
        for peer in result["load_and_first_token_seconds"]:
            speeds = [case[peer][f"{key}_tokens_per_second"] for case in cases.values()]
            ours = [case["gpt2_keras"][f"{key}_tokens_per_second"] for case in cases.values()]
            cells = [f"{s:.1f} ({o / s:.2f} ×)" for s, o in zip(speeds, ours, strict=True)]
            cells.append(
                f"{speeds[0] / bandwidth_limit:.0%}" if key == "decode" else f"{first[peer]:.1f}"
            )
            lines.append(f"| {NAMES[peer]} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(*args.work)
        return
    bandwidth = bytes_per_second()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "model"
        write_model(directory)
        started = {peer: Worker(__file__, [peer, str(directory)]) for peer in args.peers}
        workers = {peer: worker for peer, worker in started.items() if worker.first}
        for peer in started.keys() - workers.keys():
            print(f"left out, does not start: {peer}", file=sys.stderr)
        first = {peer: worker.first["load_and_first_token"] for peer, worker in workers.items()}
        table = measure(workers, args.rounds)
        for worker in workers.values():
            worker.close()
    RESULT.parent.mkdir(exist_ok=True)
    result = {
        "load_and_first_token_seconds": first,
        "bare_tensorflow_megabytes": bare_tensorflow_megabytes(),
        "memory_bytes_per_second": bandwidth,
        "cases": table,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(markdown(result))


if __name__ == "__main__":
    main()
