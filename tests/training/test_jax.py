"""The step on JAX: the same numbers as on TensorFlow, on one device and on several."""

import numpy as np
import pytest

from tests.processes import assert_same, run_cases
from tests.training import steps

# Two systems of kernels; the weights move by 3e-3 in these steps.
ATOL = 1e-5
JAX = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}


def test_model_parallel_and_data_parallel_in_parts_equal_tensorflow(tmp_path):
    cases = {"model": {"strategy": "auto", "model_parallel": 2, "accumulation_steps": 2}}
    assert_same(run_cases(tmp_path, cases, **JAX)["model"], steps.reference(), ATOL)


@pytest.mark.slow
def test_every_way_to_train_on_jax(tmp_path):
    found = run_cases(
        tmp_path,
        {
            "one": {},
            "parts": {"accumulation_steps": 2},
            "data": {"strategy": "auto"},
            "data_parts": {"strategy": "mirrored", "accumulation_steps": 2},
            "model": {"strategy": "auto", "model_parallel": 2},
            "bfloat16": {"dtype": "mixed_bfloat16"},
            # Not float16: JAX has no such product on a CPU.
            "dropout": {"dropout_rate": 0.5},
            "remat": {"dropout_rate": 0.5, "remat": True},
        },
        **JAX,
    )
    for name in ("parts", "data", "data_parts", "model"):
        assert_same(found[name], found["one"], 1e-6)
    assert_same(found["remat"], found["dropout"], 1e-6)
    np.testing.assert_allclose(found["bfloat16"]["logs"], found["one"]["logs"], rtol=1e-2)
