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


def test_the_gpu_tables_have_utilisation_and_the_cause_of_a_failure(program):
    row = {"device": "NVIDIA H200", "peak_device_megabytes": 2048.0, "first_step_seconds": 3.0}
    rows = {
        "train: gpt2_keras, JAX, batch 32": row | {"tokens_per_second": 6e5, "mfu": 0.6},
        "train: plain PyTorch, compiled, batch 32, padded": row
        | {"tokens_per_second": 5e5, "mfu": 0.5},
        "train: KerasHub, JAX, batch 32": {"error": "Traceback\nModuleNotFoundError: grain"},
        "generate: gpt2_keras, JAX, batch 64": row | {"steps_per_second": 800.0, "bandwidth": 0.5},
    }
    lines = program("gpu")["markdown"]({"rows": rows}).splitlines()
    assert lines[0] == "NVIDIA H200"
    assert lines[4:7] == [
        "| gpt2_keras, JAX, batch 32 | 600000 (1.00 ×) | 60.0% | 2.0 | 3.0 |",
        "| plain PyTorch, compiled, batch 32, padded | 500000 (1.20 ×) | 50.0% | 2.0 | 3.0 |",
        "| KerasHub, JAX, batch 32 | ModuleNotFoundError: grain | | | |",
    ]
    assert lines[10] == "| gpt2_keras, JAX, batch 64 | 800 (1.00 ×) | 50.0% | 2.0 | 3.0 |"


def test_the_gpu_results_are_written_after_each_row_and_end_with_the_time(program, tmp_path):
    gpu = program("gpu")
    measure, row = gpu["measure"], gpu["rows_of"](gpu["TINY"])[0]
    names = measure.__globals__
    names["RESULT"] = tmp_path / "gpu.json"
    seen = []

    def take_turn(peer, job, *, task, timeout):
        seen.append(names["RESULT"].exists())
        assert (peer, task) == ("gpt2_keras_jax", "train")
        assert timeout > 0
        return {"error": "out of memory"}

    names["take_turn"] = take_turn
    other = gpu["dataclasses"].replace(row, note="again")
    result = measure([row, other], 5, {"rows": {}}, keep=True)
    assert seen == [False, True]
    assert [each["error"] for each in result["rows"].values()] == ["out of memory"] * 2
    late = measure([row], -1, {"rows": {}}, keep=False)
    assert late["rows"][row.name] == {"error": gpu["NO_TIME"]}


def test_the_model_flops_and_the_bytes_of_a_step_are_those_of_the_formulas(program):
    gpu = program("gpu")
    job = gpu["GPT2"]
    found = {"device": "NVIDIA H100 80GB HBM3", "tokens_per_second": 989e12 / 855166464}
    train = gpu["Row"]("train", "gpt2_keras_jax", job)
    assert gpu["figures"](train, found)["mfu"] == pytest.approx(1)
    generate = gpu["Row"]("generate", "gpt2_keras_jax", gpu["dataclasses"].replace(job, steps=0))
    read = 2 * (124_439_808 + 2 * 12 * 768 * 128 * 32)
    found = {"device": "NVIDIA H100 80GB HBM3", "steps_per_second": 3.35e12 / read}
    assert gpu["figures"](generate, found)["bandwidth"] == pytest.approx(1)


def run(program, *options):
    command = [sys.executable, str(BENCHMARKS / program), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_a_tiny_shape_is_trained_and_shown():
    done = run("training.py", "--shapes=tiny", "--peers", "gpt2_keras", "--rounds=1")
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
    rows = ["train: gpt2_keras, JAX, batch 2", "generate: gpt2_keras, JAX, batch 1"]
    done = run("gpu.py", "--tiny", "--rows", *rows)
    for row in rows:
        assert f"| {row.split(': ')[1]} | " in done.stdout
    assert "Error" not in done.stdout
