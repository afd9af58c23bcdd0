"""Tokens scored per second beside lm-evaluation-harness' `hf`, and the tenth answer of a chat.

GPT-2 124M with random weights: what is computed does not depend on them. Both sides answer the
same requests of lm-evaluation-harness, in turns: texts of several windows, and questions with
choices. Needs lm-eval, torch and transformers (`pip install -e ".[harness,peers]"`).

    benchmarks/evaluation.py
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _workers import Worker, processor, serve, write_model

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "evaluation.json"
TURNS, BATCH_SIZE = 3, 8
NUM_TEXTS, TEXT_CHARACTERS = 2, 12_000
NUM_QUESTIONS, NUM_CHOICES = 24, 4
CHAT_TURNS, ANSWER_TOKENS = 10, 32
PEERS = ("gpt2_keras", "hf")
JOBS = {"texts": "texts of several windows", "choices": "questions with four choices"}


def requests() -> dict[str, list[Any]]:
    """Returns the requests of each job, of the documentation that ships inside Python."""
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name].strip() for name in sorted(topics))
    parts = [text[i * TEXT_CHARACTERS : (i + 1) * TEXT_CHARACTERS] for i in range(NUM_TEXTS)]
    words = text.split()
    questions = []
    for number in range(NUM_QUESTIONS):
        start = 500 + 150 * number
        context = " ".join(words[start : start + 40])
        for choice in range(NUM_CHOICES):
            first = start + 40 + 17 * choice
            questions.append((context, " " + " ".join(words[first : first + 12])))
    return {"texts": [(part,) for part in parts], "choices": questions}


def start_worker(peer: str, directory: str) -> tuple[Any, Any]:
    """Loads a peer; returns the numbers of tokens of the jobs and the function that runs one."""
    from lm_eval.api.instance import Instance

    if peer == "hf":
        from lm_eval.models.huggingface import HFLM

        model: Any = HFLM(directory, device="cpu", dtype="float32", batch_size=BATCH_SIZE)
    else:
        from gpt2_keras.evaluation.harness import GPT2KerasLM

        model = GPT2KerasLM(directory, batch_size=BATCH_SIZE)
    asked = {
        "texts": ("loglikelihood_rolling", requests()["texts"]),
        "choices": ("loglikelihood", requests()["choices"]),
    }
    counts = {
        job: sum(len(model.tok_encode("".join(row))) for row in rows)
        for job, (_, rows) in asked.items()
    }

    def answer(job: str) -> Any:
        method, rows = asked[job]
        listed = [Instance(method, {}, row, index) for index, row in enumerate(rows)]
        started = time.perf_counter()
        found = getattr(model, method)(listed, disable_tqdm=True)
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "sum": sum(x[0] if isinstance(x, tuple) else x for x in found)}

    return counts, answer


def start_chat(directory: str) -> tuple[Any, Any]:
    """Returns the function that measures the answers of a chat."""
    from gpt2_keras import GPT2LM
    from gpt2_keras.applications import Chat

    model = GPT2LM.from_preset(directory)

    def answer(_: Any) -> Any:
        chat, seconds = Chat(model, max_new_tokens=ANSWER_TOKENS, seed=0), []
        for number in range(CHAT_TURNS):
            started = time.perf_counter()
            chat.ask(f"And what do you think of number {number}, if I may ask you once more?")
            seconds.append(time.perf_counter() - started)
        return seconds

    return None, answer


def measure(directory: str) -> dict[str, Any]:
    """Returns the figures of all jobs."""
    program = str(Path(__file__).resolve())
    workers = {peer: Worker(program, [peer, directory]) for peer in PEERS}
    results: dict[str, Any] = {"processor": processor(), "jobs": {}}
    for job in JOBS:
        for worker in workers.values():
            worker.ask(job)  # compiles
        times: dict[str, list[float]] = {peer: [] for peer in PEERS}
        sums = {}
        for _ in range(TURNS):
            for peer, worker in workers.items():
                answer = worker.ask(job)
                times[peer].append(answer["seconds"])
                sums[peer] = answer["sum"]
        tokens = workers["gpt2_keras"].first[job]
        if tokens != workers["hf"].first[job]:
            sys.exit(
                f"{job}: the peers count other tokens, {tokens} and {workers['hf'].first[job]}"
            )
        results["jobs"][job] = {
            "tokens": tokens,
            "log_prob_difference": abs(sums["gpt2_keras"] - sums["hf"]) / tokens,
            "tokens_per_second": {p: tokens / statistics.median(t) for p, t in times.items()},
            "ratio": statistics.median(
                theirs / ours for ours, theirs in zip(times["gpt2_keras"], times["hf"], strict=True)
            ),
        }
        print(markdown(results).splitlines()[-1], flush=True)
    for worker in workers.values():
        worker.close()
    chat = Worker(program, ["chat", directory])
    chat.ask(None)  # compiles
    runs = [chat.ask(None) for _ in range(TURNS)]
    chat.close()
    answers = [statistics.median(each) for each in zip(*runs, strict=True)]
    results["chat_seconds"] = answers
    results["tenth_to_first"] = statistics.median(each[-1] / each[0] for each in runs)
    return results


def markdown(results: dict[str, Any]) -> str:
    """Returns the table of docs/evaluation.md."""
    lines = [
        "| | tokens | gpt2_keras, tokens/s | lm-eval's `hf`, tokens/s | ratio |",
        "|---|---|---|---|---|",
    ]
    for job, row in results["jobs"].items():
        speeds = row["tokens_per_second"]
        cells = [
            JOBS[job],
            f"{row['tokens']:,}",
            *(f"{speeds[peer]:,.0f}" for peer in PEERS),
            f"{row['ratio']:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    if sys.argv[1:2] == ["--work"]:
        peer, directory = sys.argv[2:]
        starts = {"chat": lambda: start_chat(directory)}
        serve(starts.get(peer, lambda: start_worker(peer, directory)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        directory = f"{folder}/gpt2"
        write_model(Path(directory))
        results = measure(directory)
    RESULT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(markdown(results))
    print(f"the tenth answer of a chat takes {results['tenth_to_first']:.2f} × the first")
    return 0


if __name__ == "__main__":
    sys.exit(main())
