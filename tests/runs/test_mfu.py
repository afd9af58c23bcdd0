"""The FLOPs of a model and the speed of a device."""

import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.runs import mfu
from gpt2_keras.runs.mfu import find_peak, flops_per_token, format_flops
from tests.bfloat16 import needs_bfloat16


def test_the_flops_are_those_of_the_products():
    """Counted one product at a time, 2 FLOPs per weight, backward twice forward."""
    config = GPT2Config(vocab_size=100, context_length=16, num_layers=3, num_heads=2, hidden_dim=8)
    width, inner, time = 8, 32, 16
    kernels = width * 3 * width + width * width + 2 * width * inner
    attention = 2 * time * width  # scores, and the mix of the values
    products = 3 * (kernels + attention) + width * 100
    biases_and_norms = config.num_parameters - 3 * kernels - width * 100 - time * width
    assert flops_per_token(config) == 3 * 2 * (products + biases_and_norms)


def test_sinusoidal_positions_are_no_weights():
    shapes = [
        GPT2Config(position_embedding=positions, num_layers=1)
        for positions in ("learned", "sinusoidal")
    ]
    assert flops_per_token(shapes[0]) == flops_per_token(shapes[1])


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("NVIDIA H200", "bfloat16", 989e12),
        ("NVIDIA H100 80GB HBM3", "float32", 494e12),
        ("NVIDIA H100 PCIe", "float16", 756e12),
        ("NVIDIA A100-SXM4-40GB", "bfloat16", 312e12),
        ("NVIDIA L40S", "bfloat16", 362e12),
        ("NVIDIA L4", "bfloat16", 121e12),
        ("Tesla T4", "float32", 8.1e12),
    ],
)
def test_known_gpus_have_the_figures_of_their_data_sheets(device, dtype, expected):
    peak = find_peak(dtype, device=device)
    assert peak.flops == expected
    assert peak.source == f"{device}, {dtype}, by its data sheet"
    assert find_peak(dtype, device=device, num_devices=4).flops == 4 * expected


def test_a_stated_peak_counts():
    peak = find_peak("float32", 2e12, device="NVIDIA H200")
    assert str(peak) == "2 TFLOP/s (as stated)"


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("bfloat16", marks=needs_bfloat16), "float16"]
)
def test_unknown_devices_are_measured_by_a_product(monkeypatch, dtype):
    monkeypatch.setattr(mfu, "_CPU_SIZE", 64)
    peak = find_peak(dtype, device="")
    assert peak.source == f"measured: a {dtype} product of 64 × 64 matrices"
    assert 1e6 < peak.flops < 1e14
    assert find_peak(dtype, device="") == peak  # measured once


def test_units_are_those_of_a_thousand():
    assert format_flops(0) == "0 FLOP"
    assert format_flops(999) == "999 FLOP"
    assert format_flops(1000) == "1 kFLOP"
    assert format_flops(1.5e21) == "1.5e+03 EFLOP"
