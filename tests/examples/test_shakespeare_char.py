"""Both recipes of the example run, on a short text and for a few steps."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import CORPUS

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "shakespeare_char.py"
LEARNABLE = "".join(CORPUS) * 2
# Letters that nothing foretells: the network learns them by heart, and the evaluations rise.
NOISE = "".join(random.Random(0).choices("abcdefghijklmnopqrst", k=400))  # noqa: S311
# The GPU recipe at sizes for a CPU, with its dropout and its bfloat16.
CHANGES = {"num-layers": 1, "num-heads": 2, "hidden-dim": 64, "context-length": 16}
CHANGES |= {"batch-size": 8, "steps": 150, "evaluate-every": 50}
GPU = ["--recipe=gpu", *(f"--{name}={value}" for name, value in CHANGES.items())]


def run(tmp_path, text, *options, **environment):
    """Returns the loss that the example prints, and those of its evaluations."""
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, str(EXAMPLE), str(path), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | environment
    )
    loss = re.search(r"validation loss (\d\.\d{4}) nats per character", done.stdout)
    assert loss is not None
    evaluations = re.findall(r"val_loss: (\S+)", done.stdout)
    return float(loss.group(1)), [float(each) for each in evaluations]


def check_best_is_kept(loss, evaluations):
    assert len(evaluations) == 3
    assert min(evaluations) < evaluations[-1]
    assert loss == pytest.approx(min(evaluations), abs=1e-4)


def test_the_cpu_recipe_learns(tmp_path):
    loss, evaluations = run(tmp_path, LEARNABLE, "--steps=20")
    assert loss < 2.0  # the log of its 21 characters is 3.04
    assert evaluations == [loss]


@pytest.mark.slow
def test_the_gpu_recipe_keeps_its_best_weights(tmp_path):
    check_best_is_kept(*run(tmp_path, NOISE, *GPU))


@pytest.mark.slow
def test_the_gpu_recipe_keeps_its_best_weights_on_jax(tmp_path):
    pytest.importorskip("jax")
    check_best_is_kept(*run(tmp_path, NOISE, *GPU, KERAS_BACKEND="jax"))


@pytest.mark.slow
def test_the_example_runs_on_jax_where_tensorflow_is_not_installed(tmp_path):
    pytest.importorskip("jax")
    (tmp_path / "sitecustomize.py").write_text('import sys; sys.modules["tensorflow"] = None')
    environment = {"KERAS_BACKEND": "jax", "PYTHONWARNINGS": "error::UserWarning"}
    loss, evaluations = run(
        tmp_path, LEARNABLE, "--steps=20", PYTHONPATH=str(tmp_path), **environment
    )
    assert loss < 2.0
    assert evaluations == [loss]
