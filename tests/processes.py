"""Runs programs on other devices than the tests', or on another backend."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
QUIET = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}


def run_cases(folder, cases, **environment):
    """Runs `tests.training.steps` and returns weights and logs, by case."""
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    arguments = [folder / "out.npz", folder / "cases.json"]
    wait_for([start("-m", "tests.training.steps", *arguments, **environment)])
    return read_cases(folder / "out.npz")


def read_cases(path):
    """What `tests.training.steps` wrote, by case and path of the weight."""
    found = {}
    with np.load(path) as arrays:
        for name in arrays.files:
            case, weight = name.split(":", 1)
            found.setdefault(case, {})[weight] = arrays[name]
    return found


def start(*arguments, **environment):
    """Starts Python in the root of the project."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **QUIET, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_workers(commands):
    """Starts a worker of TensorFlow for each command; the first one is the chief."""
    addresses = [f"localhost:{port}" for port in _free_ports(len(commands))]
    return [
        start(
            *command,
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            ),
        )
        for index, command in enumerate(commands)
    ]


def wait_for(processes, timeout=300):
    """Waits until all have ended well."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-3000:]


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def assert_same(case, other, atol):
    """Weights, losses and gradient norms are those of the other case."""
    assert case.keys() == other.keys()
    for name, value in case.items():
        scale = max(1.0, float(np.abs(other[name]).max())) if name == "logs" else 1.0
        np.testing.assert_allclose(value, other[name], rtol=0, atol=atol * scale, err_msg=name)
