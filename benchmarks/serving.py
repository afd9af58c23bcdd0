"""Speed of serving text, side by side: the SavedModel in a bare process and in C++,
`model.generate`, a KerasHub SavedModel of logits driven from Python, CTranslate2.

All answer the same requests: texts of about 32 tokens in, 32 new tokens by greedy decoding,
text out; GPT-2 124M with random weights, float32. KerasHub's SavedModel has neither tokenizer
nor cache: its client encodes, requests the logits of the whole text for each token, and
decodes. Peers take turns; figures are medians.

The cold start is from the start of the process's work (imports included) to the first
answer; for the SavedModel also after the requests of the warm-up file, which TF Serving runs
before it accepts others.
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

from _workers import Worker, peak_megabytes, serve, write_model

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "serving.json"
SMOKE = HERE.parent / "export" / "tf_serving" / "smoke"
PEERS = ("saved_model", "saved_model_cpp", "model_generate", "keras_hub", "ctranslate2")
NAMES = {
    "saved_model": "SavedModel, TensorFlow alone",
    "saved_model_cpp": "SavedModel, C++",
    "model_generate": "`model.generate`",
    "keras_hub": "KerasHub, SavedModel of logits",
    "ctranslate2": "CTranslate2",
}
NEW_TOKENS = 32
BATCHES = (1, 8)
TEXT = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, "
    "it was the age of foolishness, and then the number was"
)
Answer = Callable[[list[str]], Any]


def load_saved_model(folder: Path) -> Answer:
    import tensorflow as tf

    serve_text = tf.saved_model.load(str(folder / "serving" / "1")).signatures["serving_default"]
    return lambda texts: serve_text(text=tf.constant(texts))["text"].numpy().tolist()


def load_model_generate(folder: Path) -> Answer:
    from gpt2_keras import GPT2LM

    model = GPT2LM.from_preset(folder / "model")
    return lambda texts: model.generate(texts, max_new_tokens=NEW_TOKENS)


def load_keras_hub(folder: Path) -> Answer:
    import keras_hub
    import numpy as np
    import tensorflow as tf

    path = folder / "keras_hub_serving"
    if not path.exists():
        hub = keras_hub.models.GPT2CausalLM.from_preset(str(folder / "model"), preprocessor=None)
        hub.export(str(path), format="tf_saved_model", verbose=False)
    logits = tf.saved_model.load(str(path)).signatures["serving_default"]
    tokenizer = keras_hub.models.GPT2Tokenizer.from_preset(str(folder / "model"))

    def answer(texts: list[str]) -> list[str]:
        ids = np.array(tokenizer(texts), "int32")  # rows of one length
        for _ in range(NEW_TOKENS):
            inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
            specs = logits.structured_input_signature[1]
            given = {
                name: tf.cast(inputs[next(key for key in inputs if key in name)], spec.dtype)
                for name, spec in specs.items()
            }
            (values,) = logits(**given).values()
            ids = np.concatenate([ids, values.numpy()[:, -1:].argmax(-1)], axis=1)
        return [tokenizer.detokenize(row) for row in ids]

    return answer


def load_ctranslate2(folder: Path) -> Answer:
    import ctranslate2
    import tokenizers

    converted = folder / "ctranslate2"
    if not converted.exists():
        ctranslate2.converters.TransformersConverter(str(folder / "model")).convert(str(converted))
    generator = ctranslate2.Generator(str(converted), intra_threads=2, compute_type="float32")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "model" / "tokenizer.json"))

    def answer(texts: list[str]) -> list[str]:
        words = [encoding.tokens for encoding in tokenizer.encode_batch(texts)]
        options = {"max_length": NEW_TOKENS, "sampling_topk": 1, "min_length": NEW_TOKENS}
        results = generator.generate_batch(words, **options)
        return [tokenizer.decode(result.sequences_ids[0]) for result in results]

    return answer


def work(peer: str, folder: str) -> None:
    """Answers each batch size with its seconds."""

    def start() -> tuple[Any, Callable[[Any], Any]]:
        started = time.perf_counter()
        reply = globals()[f"load_{peer}"](Path(folder))
        loaded = time.perf_counter() - started
        reply([TEXT])

        def answer(batch: int) -> dict[str, float]:
            begun = time.perf_counter()
            reply([TEXT] * batch)
            seconds = time.perf_counter() - begun
            return {"seconds": seconds, "peak_megabytes": peak_megabytes()}

        return {"load": loaded, "first_answer": time.perf_counter() - started}, answer

    serve(start)


class CppProgram:
    """The C++ program, which has its own text and does not count loading in its seconds."""

    def __init__(self, folder: Path) -> None:
        subprocess.run(["make", "-C", SMOKE, f"PYTHON={sys.executable}"], check=True)
        self._version = folder / "serving" / "1"
        report = self._run(1, 1)
        self.first = {
            "load": report["load_seconds"],
            "first_answer": report["first_answer_seconds"],
        }

    def _run(self, batch: int, runs: int) -> Any:
        numbers = [str(batch), str(NEW_TOKENS), str(runs)]
        command = [SMOKE / "smoke", self._version, "--benchmark", *numbers]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(result.stdout.splitlines()[-1])

    def ask(self, batch: int) -> dict[str, float]:
        """Returns the seconds of a request."""
        report = self._run(batch, 3)
        return {"seconds": 1 / report["requests_per_second"], "peak_megabytes": 0.0}

    def close(self) -> None:
        """Does nothing: each run has ended."""


def warmed_first_answer(folder: Path) -> dict[str, float]:
    """Returns the seconds of the warm-up file in a loaded SavedModel, and of a request after it."""
    code = (
        "import sys, time, tensorflow as tf\n"
        "from tensorflow_serving.apis import prediction_log_pb2\n"
        "signatures = tf.saved_model.load(sys.argv[1]).signatures\n"
        "start = time.perf_counter()\n"
        "file = sys.argv[1] + '/assets.extra/tf_serving_warmup_requests'\n"
        "for record in tf.data.TFRecordDataset(file):\n"
        "    log = prediction_log_pb2.PredictionLog.FromString(record.numpy())\n"
        "    request = log.predict_log.request\n"
        "    inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}\n"
        "    signatures[request.model_spec.signature_name](**inputs)\n"
        "warm = time.perf_counter()\n"
        "signatures['serving_default'](text=tf.constant([sys.argv[2]]))\n"
        "print(warm - start, time.perf_counter() - warm)\n"
    )
    command = [sys.executable, "-c", code, str(folder / "serving" / "1"), TEXT]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    warm_up, first = map(float, result.stdout.split()[-2:])
    return {"warm_up": warm_up, "first_answer_after_it": first}


def measure(peers: dict[str, Any], rounds: int) -> dict[str, dict[str, float]]:
    """Measures the peers in turns; returns requests per second by peer and batch."""
    table: dict[str, dict[str, float]] = {peer: {} for peer in peers}
    for batch in BATCHES:
        seconds: dict[str, list[float]] = {peer: [] for peer in peers}
        for turn in range(rounds + 1):
            for peer, worker in peers.items():
                print(f"batch {batch}: {peer}, round {turn}/{rounds}", file=sys.stderr)
                answer = worker.ask(batch)
                if turn:  # the first compiles
                    seconds[peer].append(answer["seconds"])
        for peer, values in seconds.items():
            table[peer][f"batch {batch}"] = 1 / statistics.median(values)
    return table


def markdown(result: dict[str, Any]) -> str:
    """Returns the table of docs/benchmarks.md."""
    heads = [f"batch {batch}: tokens/s" for batch in BATCHES]
    lines = [f"| Serving | {' | '.join(heads)} | load, s | first answer, s |", "|---" * 5 + "|"]
    ours = result["requests_per_second"]["saved_model"]
    for peer, row in result["requests_per_second"].items():
        cells = [
            f"{row[f'batch {b}'] * b * NEW_TOKENS:.1f} "
            f"({ours[f'batch {b}'] / row[f'batch {b}']:.2f} ×)"
            for b in BATCHES
        ]
        cold = result["cold_start_seconds"][peer]
        cells += [f"{cold['load']:.1f}", f"{cold['first_answer']:.1f}"]
        lines.append(f"| {NAMES[peer]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_artifacts(folder: Path) -> None:
    """Writes the model and the SavedModel, each in its own process."""
    write_model(folder / "model")
    code = (
        "import sys; from gpt2_keras import GPT2LM\n"
        "model = GPT2LM.from_preset(sys.argv[1] + '/model')\n"
        "model.export(sys.argv[1] + '/serving', version=1, max_new_tokens=int(sys.argv[2]),\n"
        "             warmup=True, certificate=False)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), str(NEW_TOKENS)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--folder", type=Path, help="where files are kept for another run")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(*args.work)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        if not (folder / "serving").exists():
            write_artifacts(folder)
        peers: dict[str, Any] = {}
        for peer in args.peers:
            cpp = peer == "saved_model_cpp"
            worker: Any = CppProgram(folder) if cpp else Worker(__file__, [peer, str(folder)])
            if worker.first:
                peers[peer] = worker
            else:
                print(f"left out, does not start: {peer}", file=sys.stderr)
        result = {
            "cold_start_seconds": {peer: worker.first for peer, worker in peers.items()},
            "warm_up_seconds": warmed_first_answer(folder),
            "requests_per_second": measure(peers, args.rounds),
        }
        for worker in peers.values():
            worker.close()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(markdown(result))
    print(result["warm_up_seconds"])


if __name__ == "__main__":
    main()
