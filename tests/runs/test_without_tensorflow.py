"""Training on JAX where TensorFlow is not installed."""

import csv

import pytest

from tests.processes import start, wait_for
from tests.runs.runs import EXACT


@pytest.mark.slow
def test_a_run_on_jax_is_the_same_without_tensorflow(prepared, tmp_path):
    pytest.importorskip("jax")
    (tmp_path / "sitecustomize.py").write_text('import sys; sys.modules["tensorflow"] = None')
    words = ["-m", "gpt2_keras.cli.main", "train", "--data", prepared / "shards"]
    words += ["--tokenizer", prepared / "tokenizer", "--steps=4", "--evaluate-every=2"]
    words += ["--num-layers=1", "--num-heads=2", "--hidden-dim=16", "--context-length=8"]
    on_jax = {"KERAS_BACKEND": "jax"}
    wait_for([start(*words, "--out", tmp_path / "with", **on_jax)], timeout=1200)
    on_jax["PYTHONPATH"] = str(tmp_path)
    wait_for([start(*words, "--out", tmp_path / "without", **on_jax)], timeout=1200)
    assert (tmp_path / "with" / "logs").is_dir()
    assert not (tmp_path / "without" / "logs").exists()
    rows = []
    for run in ("with", "without"):
        with (tmp_path / run / "history.csv").open() as file:
            rows.append([[row[name] for name in EXACT] for row in csv.DictReader(file)])
    assert rows[0] == rows[1]
    assert [row[0] for row in rows[0]] == ["2", "4"]
