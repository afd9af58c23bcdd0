"""The benchmarks of training: their tables, and that a tiny shape goes through."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: runpy.run_path(str(BENCHMARKS / f"{name}.py"))


def figures(speed, peak=2048.0, first=3.0):
    return {"tokens_per_second": speed, "peak_megabytes": peak, "first_step_seconds": first}


def test_the_table_has_ratios_and_a_gap_for_a_peer_left_out(program):
    tables = {
        "S": {"gpt2_keras": figures(1200.0), "torch": figures(1000.0, 1024.0)},
        "M": {"gpt2_keras": figures(90.0)},
    }
    head, _, *rows = program("training")["markdown"]({"shapes": tables}).splitlines()
    assert head.count("tokens/s") == 2
    assert rows == [
        "| gpt2_keras | 1200 (1.00 ×) | 2.00 | 3.0 | 90 (1.00 ×) | 2.00 | 3.0 |",
        "| plain PyTorch | 1000 (1.20 ×) | 1.00 | 3.0 | – | – | – |",
    ]


def test_a_run_of_one_shape_keeps_the_other_but_not_the_tiny_one(program, tmp_path):
    training = program("training")
    path = tmp_path / "training.json"
    keep = training["keep"]
    keep.__globals__["RESULT"] = path
    for shape in ("tiny", "M", "S"):
        assert path.exists() == (shape == "S")
        keep({"cores": 2, "shapes": {shape: {"gpt2_keras": figures(1.0)}}})
    assert list(training["json"].loads(path.read_text())["shapes"]) == ["S", "M"]


def test_the_gpu_table_has_utilisation(program):
    row = {"batch_size": 64, "device": "NVIDIA H200", "peak_device_megabytes": 2048.0}
    peers = {
        "gpt2_keras_jax": {**row, **figures(600_000.0)},
        "torch_compile": {**row, **figures(500_000.0)},
    }
    result = {"flops_per_token": 10**9, "peak_flops": 1e15, "peak": "1 PFLOP/s", "peers": peers}
    lines = program("gpu")["markdown"](result).splitlines()
    assert lines[0].startswith("| NVIDIA H200 | batch |")
    assert lines[2] == "| gpt2_keras, JAX | 64 | 600000 (1.00 ×) | 60.0% | 2.0 | 3.0 |"
    assert lines[3] == "| plain PyTorch, compiled | 64 | 500000 (1.20 ×) | 50.0% | 2.0 | 3.0 |"


def run(program, *options):
    command = [sys.executable, str(BENCHMARKS / program), *options, "--rounds=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_a_tiny_shape_is_trained_and_shown():
    done = run("training.py", "--shapes=tiny", "--peers", "gpt2_keras")
    assert "| gpt2_keras | " in done.stdout
    loss = float(done.stderr.split("loss ")[-1].split()[0])
    assert loss == pytest.approx(4.17, abs=0.05)  # the log of 65 ids that nothing foretells


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_cpu_without_tensorflow(tmp_path, monkeypatch):
    pytest.importorskip("jax")
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not here')")
    path = [str(tmp_path), str(BENCHMARKS.parent)]
    monkeypatch.setenv("PYTHONPATH", ":".join(path))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    done = run("gpu.py", "--tiny", "--peers", "gpt2_keras_jax")
    assert "| gpt2_keras, JAX | 2 | " in done.stdout
