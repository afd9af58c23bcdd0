"""The step on JAX: the same numbers as on TensorFlow, on one device and on several."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.processes import assert_same, run_cases
from tests.training import steps
from tests.training.tolerances import adamw_tolerance

ATOL = adamw_tolerance(1e-3, steps.STEPS)
JAX = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}


def test_model_parallel_and_data_parallel_in_micro_batches_equal_tensorflow(tmp_path):
    options = {"strategy": "auto", "model_parallel": 2, "accumulation_steps": 2}
    student = {"distill": "teacher", "alpha_cos": 0.1}
    cases = {
        "model": options,
        "student": {**options, **student},
        "stored": {"accumulation_steps": 2, "distill": "stored"},
    }
    found = run_cases(tmp_path, cases, **JAX)
    assert_same(found["model"], steps.reference(), ATOL)
    assert_same(found["student"], steps.train(student), ATOL)
    assert_same(found["stored"], steps.train({"distill": "teacher"}), ATOL)


@pytest.mark.slow
def test_every_way_to_train_on_jax(tmp_path):
    found = run_cases(
        tmp_path,
        {
            "one": {},
            "micro_batches": {"accumulation_steps": 2},
            "data": {"strategy": "auto"},
            "data_micro_batches": {"strategy": "mirrored", "accumulation_steps": 2},
            "model": {"strategy": "auto", "model_parallel": 2},
            "bfloat16": {"dtype": "mixed_bfloat16"},
            # Not float16: JAX has no such product on a CPU.
            "dropout": {"dropout_rate": 0.5},
            "remat": {"dropout_rate": 0.5, "remat": True},
            "products": {"dropout_rate": 0.5, "remat": "products"},
        },
        **JAX,
    )
    for name in ("micro_batches", "data", "data_micro_batches", "model"):
        assert_same(found[name], found["one"], ATOL)
    assert_same(found["remat"], found["dropout"], ATOL)
    assert_same(found["products"], found["dropout"], ATOL)
    np.testing.assert_allclose(found["bfloat16"]["logs"], found["one"]["logs"], rtol=1e-2)


def output_of(module):
    """What a program of this folder prints on JAX."""
    result = subprocess.run(
        [sys.executable, "-m", f"tests.training.{module}"],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def test_an_error_in_a_batch_loses_no_weights():
    assert output_of("jax_errors") == ""


def test_what_is_rematerialized_changes_the_cost_and_not_the_gradients():
    found = json.loads(output_of("jax_remat"))
    nothing, everything, rest = (found[name] for name in ("False", "True", "products"))
    # The same operations on the same numbers; XLA may fuse them in another way.
    assert max(each["difference"] for each in found.values()) < 1e-5
    # Of each block the results of qkv, output_projection and expand, and its input.
    width, blocks, tokens = 64, 4, 4 * 128
    assert rest["kept"] - everything["kept"] == 4 * blocks * tokens * (3 + 1 + 4) * width
    assert rest["kept"] < 0.25 * nothing["kept"]
    assert everything["flops"] > 1.2 * nothing["flops"]  # the products a second time
    assert rest["flops"] < 1.05 * nothing["flops"]


def test_the_loss_is_that_on_all_logits_in_every_layout():
    found = json.loads(output_of("jax_loss"))
    assert len(found) == 4
    for name, excess in found.items():
        # In bfloat16 the gradients of the logits are rounded, as plain ones are not on a CPU.
        assert excess < (1e-6 if name.startswith("float32") else 2**-7), name
