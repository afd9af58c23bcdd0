"""Turns of the training benchmarks: the jobs that peers train, and the figures compared.

Each turn runs in its own process, since training GPT-2 124M needs up to 6 GB.
"""

import dataclasses
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _workers import peak_megabytes

FOLDER = Path(__file__).resolve().parent
PROGRAMS = {"train": FOLDER / "_trainers.py", "generate": FOLDER / "_gpu_generators.py"}
NAMES = {
    "gpt2_keras": "gpt2_keras",
    "gpt2_keras_jax": "gpt2_keras, JAX",
    "keras_hub": "KerasHub",
    "keras_hub_jit": "KerasHub, jit",
    "keras_hub_jax": "KerasHub, JAX",
    "transformers": "transformers (PyTorch)",
    "transformers_static": "transformers, static cache",
    "torch": "plain PyTorch",
    "torch_compile": "plain PyTorch, compiled",
}
WARM_UP_STEPS = 2  # the first compiles, and on some the second as well


@dataclasses.dataclass(frozen=True)
class Job:
    """The shape that a peer trains, and the number of timed steps."""

    num_layers: int
    num_heads: int
    hidden_dim: int
    context_length: int
    batch_size: int
    vocab_size: int
    steps: int = 4
    dtype: str = "float32"  # the compute dtype; weights stay float32
    dropout_rate: float = 0.0  # of gpt2_keras; the peers have none
    remat: bool | str = False  # as for `GPT2LM.compile`; of gpt2_keras

    def shape(self) -> dict[str, int]:
        """Returns the shape as arguments of `GPT2Config`."""
        names = ("vocab_size", "context_length", "num_layers", "num_heads", "hidden_dim")
        return {name: getattr(self, name) for name in names}

    def transformers_shape(self) -> dict[str, int]:
        """Returns the shape as arguments of the `GPT2Config` of transformers."""
        return {
            "vocab_size": self.vocab_size,
            "n_positions": self.context_length,
            "n_embd": self.hidden_dim,
            "n_layer": self.num_layers,
            "n_head": self.num_heads,
        }

    @property
    def tokens_per_step(self) -> int:
        """Number of tokens in a batch."""
        return self.batch_size * self.context_length

    def batches(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the inputs and targets of all steps, each int32 (steps × batch, time).

        There is one more step than timed: Keras does other work at the end of the epoch.
        """
        count = (WARM_UP_STEPS + self.steps + 1) * self.batch_size
        shape = (count, self.context_length + 1)
        ids = np.random.default_rng(0).integers(0, self.vocab_size, shape, dtype="int32")
        return np.ascontiguousarray(ids[:, :-1]), np.ascontiguousarray(ids[:, 1:])


class Times:
    """The times at which the first step began and steps ended."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.ends: dict[int, float] = {}
        self.loss = math.nan

    def result(self, job: Job) -> dict[str, Any]:
        """Returns the figures compared; raises ValueError if the loss is not finite."""
        if not math.isfinite(self.loss):
            raise ValueError(f"loss={self.loss} is not finite. Check the optimizer's settings.")
        first, warm, last = (self.ends[step] for step in needed_steps(job))
        return {
            "tokens_per_second": job.steps * job.tokens_per_step / (last - warm),
            "first_step_seconds": first - self.begin,
            "peak_megabytes": peak_megabytes(),
            "loss": self.loss,
        }


def needed_steps(job: Job) -> tuple[int, int, int]:
    """Returns the steps whose end is timed: the first, the last before the timed ones, the last."""
    return 0, WARM_UP_STEPS - 1, WARM_UP_STEPS + job.steps - 1


def take_turn(
    peer: str,
    job: Job,
    *,
    task: str = "train",
    timeout: float | None = None,
    **environment: str,
) -> dict[str, Any]:
    """Does a job in a new process.

    Args:
        peer: A key of `NAMES`.
        job: The shape, and the steps to train or the tokens to generate.
        task: A key of `PROGRAMS`.
        timeout: Seconds after which the process is killed.
        **environment: Variables of the process.

    Returns:
        The figures of the peer; or the end of its stderr, as `error`.
    """
    environment |= {
        "KERAS_BACKEND": "jax" if peer.endswith("_jax") else "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "HF_HUB_OFFLINE": "1",
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",  # else only the first turn compiles
    }
    command = [sys.executable, PROGRAMS[task], peer, json.dumps(dataclasses.asdict(job))]
    how = {"capture_output": True, "text": True, "check": False, "timeout": timeout}
    try:
        done = subprocess.run(command, env=os.environ | environment, **how)
    except subprocess.TimeoutExpired:
        return {"error": f"killed after {timeout:.0f} s"}
    if done.returncode:
        return {"error": done.stderr.strip()[-2000:] or f"exit status {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])
