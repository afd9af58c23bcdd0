"""Peers in their own processes, which take turns."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class Worker:
    """A process that answers requests, one JSON line each.

    Args:
        program: The benchmark; it calls `serve` when run with `--work` and the arguments.
        arguments: The arguments of `--work`.
    """

    def __init__(self, program: str, arguments: Sequence[str]) -> None:
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, program, "--work", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if not os.environ.get("SHOW") else None,
            text=True,
            env=environment,
        )
        self.first = json.loads(self._process.stdout.readline() or "null")

    def ask(self, request: Any) -> Any:
        """Returns the answer to a request."""
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def serve(start: Callable[[], tuple[Any, Callable[[Any], Any]]]) -> None:
    """Answers requests on standard input until it ends.

    Args:
        start: Called first; returns the first answer and the function that answers a request.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries goes to stderr
    first, answer = start()
    print(json.dumps(first), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


def peak_megabytes() -> float:
    """Returns the peak memory of this process."""
    # Not getrusage: its peak includes that of the parent process.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def processor() -> str:
    """Returns the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def write_model(directory: Path) -> None:
    """Writes GPT-2 124M with random weights, in its own process so that this one stays small."""
    code = (
        "import sys; from pathlib import Path; from gpt2_keras import *\n"
        "t = GPT2Tokenizer.from_directory(sys.argv[2])\n"
        "GPT2LM(GPT2Config.gpt2(), t).save_to_preset(sys.argv[1])"
    )
    vocabulary = Path(__file__).resolve().parents[2] / "shared" / "data" / "gpt2"
    if not vocabulary.is_dir():
        sys.exit(f"no {vocabulary}: it must hold GPT-2's encoder.json and vocab.bpe")
    subprocess.run([sys.executable, "-c", code, directory, vocabulary], check=True)
