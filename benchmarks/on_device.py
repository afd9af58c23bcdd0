"""Speed on a device's runtimes, side by side: our `.tflite` in float32 and int8, CTranslate2.

GPT-2 124M with random weights, a context of 256 tokens, two threads. Prompt 32 and 128 new
tokens; prefill is the time to the first token, decoding that of the others, token by token
from the host (`prefill` and `decode`), and the whole loop inside the file (`generate`).
Peers are processes of their own that take turns; figures are medians.

Not measured here: llama.cpp, whose binding has to be compiled; KerasHub's LiteRT export,
which has neither cache nor tokenizer and does not load with its preprocessor.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _workers import Worker, peak_megabytes, serve, write_model

RESULT = Path(__file__).resolve().parent / "results" / "on_device.json"
PEERS = ("float32", "int8", "ctranslate2", "ctranslate2_int8")
NAMES = {
    "float32": "`.tflite`, float32",
    "int8": "`.tflite`, int8",
    "ctranslate2": "CTranslate2",
    "ctranslate2_int8": "CTranslate2, int8",
}
CONTEXT_LENGTH, PROMPT_LENGTH, NEW_TOKENS, THREADS = 256, 32, 128, 2
# A text whose tokens are about as many as those of the prompt.
TEXT = b"It was the best of times, it was the worst of times, it was the age of wisdom, "
Case = Callable[[], dict[str, float]]


def load_litert(path: str) -> Case:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=THREADS)
    prefill, decode = map(interpreter.get_signature_runner, ("prefill", "decode"))
    generate = interpreter.get_signature_runner("generate")
    prompt = np.random.default_rng(0).integers(0, 50_000, PROMPT_LENGTH).astype("int32")
    prefill(token_ids=prompt)

    def whole(count: int) -> float:
        start = time.perf_counter()
        answer = generate(
            text=np.frombuffer(TEXT, np.uint8),
            max_new_tokens=np.array([count], np.int32),
            temperature=np.zeros(1, np.float32),
            top_k=np.zeros(1, np.int32),
            seed=np.zeros(1, np.int32),
        )
        if answer["num_tokens"] != count:
            raise ValueError("a stop id ended the text: measure another")
        return time.perf_counter() - start

    def run() -> dict[str, float]:
        start = time.perf_counter()
        logits = prefill(token_ids=prompt)["logits"]
        first = time.perf_counter()
        for position in range(PROMPT_LENGTH, PROMPT_LENGTH + NEW_TOKENS - 1):
            token = np.array([logits[0].argmax()], np.int32)
            logits = decode(token_id=token, position=np.array([position], np.int32))["logits"]
        end = time.perf_counter()
        inside = whole(NEW_TOKENS) - whole(1)
        return {"prefill": first - start, "decode": end - first, "generate": inside}

    return run


def load_ctranslate2(path: str) -> Case:
    import ctranslate2

    generator = ctranslate2.Generator(path, intra_threads=THREADS)
    words = np.array(json.loads((Path(path) / "vocabulary.json").read_text()))
    prompt = words[np.random.default_rng(0).integers(0, 50_000, PROMPT_LENGTH)].tolist()

    def seconds(count: int) -> float:
        options = {"max_length": count, "min_length": count, "sampling_topk": 1}
        start = time.perf_counter()
        generator.generate_batch([prompt], include_prompt_in_result=False, **options)
        return time.perf_counter() - start

    seconds(1)

    def run() -> dict[str, float]:
        first = seconds(1)
        decode = seconds(NEW_TOKENS) - first
        return {"prefill": first, "decode": decode, "generate": decode}

    return run


def work(peer: str, path: str) -> None:
    """Answers every request with the seconds of one turn."""

    def start() -> tuple[Any, Callable[[Any], Any]]:
        started = time.perf_counter()
        run = load_ctranslate2(path) if peer.startswith("ctranslate2") else load_litert(path)
        first = time.perf_counter() - started

        def answer(_: Any) -> dict[str, float]:
            return run() | {"peak_megabytes": peak_megabytes()}

        return {"first_token": first}, answer

    serve(start)


def write_artefacts(folder: Path) -> dict[str, Path]:
    """Writes what the peers load, where it is not there; returns it by peer."""
    paths = {name: folder / f"{name}.tflite" for name in ("float32", "int8")}
    paths |= {name: folder / name for name in ("ctranslate2", "ctranslate2_int8")}
    if all(path.exists() for path in paths.values()):
        return paths
    write_model(folder / "model")
    code = (
        "import sys; from gpt2_keras import GPT2LM\n"
        "from gpt2_keras.export.litert_quantization import quantize\n"
        "out = sys.argv[1]\n"
        "made = GPT2LM.from_preset(out + '/model').export(out + '/float32.tflite',\n"
        "    format='litert', context_length=int(sys.argv[2]), certificate=False)\n"
        "open(out + '/int8.tflite', 'wb').write(quantize(made.read_bytes(), 'int8'))"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), str(CONTEXT_LENGTH)], check=True)
    for peer, kind in (("ctranslate2", "float32"), ("ctranslate2_int8", "int8")):
        code = (
            "import sys, ctranslate2\n"
            "ctranslate2.converters.TransformersConverter(sys.argv[1]).convert(\n"
            "    sys.argv[2], quantization=sys.argv[3])"
        )
        command = [sys.executable, "-c", code, str(folder / "model"), str(paths[peer]), kind]
        subprocess.run(command, check=True)
    return paths


def size_of(path: Path) -> int:
    """Returns the bytes of a file, or of all in a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def markdown(result: dict[str, Any]) -> str:
    """Returns the table of the README."""
    heads = "prefill, tokens/s | decode, tokens/s | `generate`, tokens/s"
    lines = [
        f"| On a device | {heads} | MB on disk | MB at peak | first token, s |",
        "|---" * 7 + "|",
    ]
    for peer, row in result["peers"].items():
        cells = [
            f"{PROMPT_LENGTH / row['prefill']:.0f}",
            f"{(NEW_TOKENS - 1) / row['decode']:.1f}",
            f"{(NEW_TOKENS - 1) / row['generate']:.1f}",
            f"{row['megabytes']:.1f}",
            f"{row['peak_megabytes']:.0f}",
            f"{row['first_token']:.1f}",
        ]
        lines.append(f"| {NAMES[peer]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keeps what the peers load, for another run")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(*args.work)
        return
    with tempfile.TemporaryDirectory() as name:
        paths = write_artefacts(args.folder or Path(name))
        workers = {peer: Worker(__file__, [peer, str(paths[peer])]) for peer in PEERS}
        turns: dict[str, list[dict[str, float]]] = {peer: [] for peer in PEERS}
        for turn in range(args.rounds):
            for peer, worker in workers.items():
                print(f"{peer}, round {turn + 1}/{args.rounds}", file=sys.stderr)
                turns[peer].append(worker.ask("go"))
        rows = {}
        for peer, answers in turns.items():
            keys = ("prefill", "decode", "generate")
            row = {key: statistics.median(answer[key] for answer in answers) for key in keys}
            row["peak_megabytes"] = max(answer["peak_megabytes"] for answer in answers)
            row["megabytes"] = size_of(paths[peer]) / 1e6
            rows[peer] = row | workers[peer].first
            workers[peer].close()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"peers": rows}, indent=2) + "\n", encoding="utf-8")
    print(markdown({"peers": rows}))


if __name__ == "__main__":
    main()
