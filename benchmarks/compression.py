"""Size, speed and perplexity of one model made smaller: students, pruning, fewer bits.

A model is trained on the documentation that ships inside Python, and then made smaller in each
way, by the commands of `gpt2-keras`. Perplexities are per token of the last tenth of that text,
which none has seen, and those of files are the files' own. Speed is that of `generate` in the
file, on two threads; the files take turns. `--folder` keeps what was trained for another run.

    benchmarks/compression.py --folder /tmp/compression
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _workers import processor

RESULT = Path(__file__).resolve().parent / "results" / "compression.json"
SHAPE = {"num-layers": 6, "num-heads": 4, "hidden-dim": 256, "context-length": 128}
TEACHER_STEPS, STUDENT_STEPS = 800, 500
VOCAB_SIZE, SEED = 2048, "1"
DTYPES = ("float32", "float16", "int8", "int4", "int4 calibrated", "mixed calibrated")
MAIN = "import sys; from gpt2_keras.cli.main import main; sys.exit(main())"
ROUNDS, NEW_TOKENS, PROMPT = 5, 96, "The statement"


def command(*words: Any) -> str:
    """Runs `gpt2-keras` and returns what it prints."""
    print("gpt2-keras", *words, file=sys.stderr)
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, words)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def make_models(folder: Path) -> dict[str, Path]:
    """Trains what is not there yet; returns the models by name."""
    training, validation = write_texts(folder)
    tokenizer, tokens, teacher = folder / "tokenizer", folder / "tokens", folder / "teacher"
    if not tokenizer.exists():
        command("tokenizer", training, "--vocab-size", VOCAB_SIZE, "--out", tokenizer)
    if not tokens.exists():
        command("prepare", training, "--tokenizer", tokenizer, "--out", tokens)
    common = ("--data", tokens, "--tokenizer", tokenizer, "--seed", SEED, "--patience", 0)
    shape = [word for name, value in SHAPE.items() for word in (f"--{name}", value)]
    half = [word if word != SHAPE["num-layers"] else 3 for word in shape]
    pruned, fewer_tokens = folder / "pruned-untrained", folder / "fewer-tokens"
    steps = ("--steps", STUDENT_STEPS)
    runs = {
        "teacher": (*shape, "--steps", TEACHER_STEPS),
        "student": ("--teacher", teacher, "--student-layers", 3, *steps),
        "alone": (*half, *steps),
        "pruned": ("--init", pruned, "--teacher", teacher, *steps, "--learning-rate", 6e-4),
    }
    for name, words in runs.items():
        if name == "pruned" and not pruned.exists():
            smaller = ("--layers", 4, "--ffn", 512, "--texts", training)
            command("prune", "--model", teacher, *smaller, "--out", pruned)
        if not (folder / name / "model").exists():
            command("train", *common, *words, "--out", folder / name)
    if not fewer_tokens.exists():
        command("prune", "--model", teacher, "--vocabulary", validation, "--out", fewer_tokens)
    return {**{name: folder / name for name in runs}, "fewer tokens": fewer_tokens}


def write_texts(folder: Path) -> tuple[Path, Path]:
    """Writes nine tenths of the documentation inside Python, and the last tenth."""
    from pydoc_data.topics import topics

    folder.mkdir(parents=True, exist_ok=True)
    documents = [topics[name].strip() for name in sorted(topics)]
    text = "\n\n".join(documents)
    middle = text.index("\n\n", len(text) * 9 // 10)
    paths = folder / "training.txt", folder / "validation.txt"
    for path, part in zip(paths, (text[:middle], text[middle:]), strict=True):
        path.write_text(part, encoding="utf-8")
    return paths


def export(folder: Path, name: str, model: Path, dtype: str) -> Path:
    """Returns a `.tflite` of a model, which is written unless it is there."""
    path = folder / f"{name.replace(' ', '-')}-{dtype.replace(' ', '-')}.tflite"
    if not path.exists():
        words = ["--dtype", dtype.split()[0], "--no-certificate"]
        if dtype.endswith("calibrated"):
            words += ["--calibrate", folder / "training.txt"]
        command("export", "--model", model, "--format", "litert", "--out", path, *words)
    return path


def perplexity_of_file(path: Path, model: Path, text: str) -> float:
    """Returns a file's perplexity per token: windows of its context, the first token unscored."""
    from gpt2_keras.tokenizer import GPT2Tokenizer
    from gpt2_keras.verification.litert import LiteRTArtifact

    directory = model / "model" if (model / "model").exists() else model
    tokenizer = GPT2Tokenizer.from_directory(directory)
    ids = np.array(tokenizer.encode(text), np.int32)
    artifact, width = LiteRTArtifact(path), SHAPE["context-length"]
    losses = []
    for start in range(0, len(ids) - width, width):
        window = ids[start : start + width]
        logits = artifact.logits(window[None, :-1])[0].astype("float64")  # (time, vocab)
        largest = logits.max(axis=1)
        sums = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
        losses.append(sums - logits[np.arange(width - 1), window[1:]])
    return float(np.exp(np.concatenate(losses).mean()))


def speeds(paths: dict[str, Path]) -> dict[str, float]:
    """Returns tokens per second of `generate` of each file, medians of turns."""
    from ai_edge_litert.interpreter import Interpreter

    runners = {
        name: Interpreter(str(path), num_threads=2).get_signature_runner("generate")
        for name, path in paths.items()
    }

    def seconds(runner: Any, count: int) -> float:
        start = time.perf_counter()
        runner(
            text=np.frombuffer(PROMPT.encode(), np.uint8),
            max_new_tokens=np.array([count], np.int32),
            temperature=np.ones(1, np.float32),
            top_k=np.zeros(1, np.int32),
            seed=np.array([3], np.int32),
        )
        return time.perf_counter() - start

    found: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(ROUNDS + 1):
        for name, runner in runners.items():
            rate = (NEW_TOKENS - 1) / (seconds(runner, NEW_TOKENS) - seconds(runner, 1))
            if turn:  # the first one compiles
                found[name].append(rate)
    return {name: statistics.median(rates) for name, rates in found.items()}


def measure(folder: Path) -> dict[str, Any]:
    """Makes and measures every model and file."""
    models = make_models(folder)
    text = (folder / "validation.txt").read_text(encoding="utf-8")
    cases = [(name, model, "float32") for name, model in models.items()]
    cases += [
        (name, models[name], dtype) for name in ("teacher", "student") for dtype in DTYPES[1:]
    ]
    paths = {f"{name}, {dtype}": export(folder, name, model, dtype) for name, model, dtype in cases}
    speed = speeds(paths)
    rows = {}
    for name, model, dtype in cases:
        key = f"{name}, {dtype}"
        print(key, file=sys.stderr)
        config = json.loads(
            ((model / "model" if (model / "model").exists() else model) / "config.json").read_text()
        )
        rows[key] = {
            "layers": config["n_layer"],
            "ffn": config.get("n_inner") or 4 * config["n_embd"],
            "vocabulary": config["vocab_size"],
            "megabytes": paths[key].stat().st_size / 1e6,
            "tokens_per_second": speed[key],
            "perplexity": perplexity_of_file(paths[key], model, text),
        }
    return {"processor": processor(), "rows": rows}


def markdown(result: dict[str, Any]) -> str:
    """Returns the table of docs/compression.md."""
    lines = [
        "| | layers | feed-forward | vocabulary | MB | tokens/s | perplexity |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        lines.append(
            f"| {name} | {row['layers']} | {row['ffn']} | {row['vocabulary']:,} | "
            f"{row['megabytes']:.1f} | {row['tokens_per_second']:.0f} | {row['perplexity']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where models are kept for another run")
    parser.add_argument("--models-only", action="store_true", help="only train")
    parser.add_argument("--out", type=Path, default=RESULT, help="JSON file of the results")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        if args.models_only:
            make_models(folder)
            return
        result = measure(folder)
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(markdown(result))


if __name__ == "__main__":
    main()
