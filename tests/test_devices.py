"""The device that Keras computes on: what is said of it, and of a GPU that is not used."""

import importlib.util
import os

import keras
import numpy as np
import pytest

from gpt2_keras import devices
from gpt2_keras import model as model_module
from gpt2_keras.cli.main import main
from gpt2_keras.devices import (
    Device,
    check_compute_dtype,
    check_device,
    current_device,
    warn_of_unused_gpu,
    why_no_gpu,
)
from gpt2_keras.runs import TrainingSettings, setup
from gpt2_keras.runs.device_report import report_device
from gpt2_keras.runs.progress import Progress
from tests.models import random_model, text_model
from tests.processes import start, wait_for

ON_CPU = {"jax": Device("cpu", "a processor", "jax"), "tf": Device("cpu", "it", "tensorflow")}


@pytest.fixture
def a_gpu(monkeypatch, tmp_path):
    """A machine with NVIDIA's driver, and an environment that hides no GPU."""
    driver = tmp_path / "version"
    driver.write_text("NVRM version: 580")
    monkeypatch.setattr(devices, "_DRIVER", driver)
    monkeypatch.setattr(devices, "_chosen", set())
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", *devices._MEMORY):
        monkeypatch.delenv(name, raising=False)


def test_the_device_has_a_kind_a_name_and_a_backend():
    device = current_device()
    assert device.backend == "tensorflow"
    assert device.name
    assert str(device) == f"{device.kind} ({device.name}), tensorflow"


def test_a_machine_without_a_gpu_hinders_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_DRIVER", tmp_path / "none")
    assert why_no_gpu(ON_CPU["jax"]) is None


def test_a_gpu_that_is_used_is_no_fault(a_gpu):
    assert why_no_gpu(Device("gpu", "NVIDIA H100 80GB HBM3", "jax")) is None


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("value", ["", "-1"])
def test_an_environment_that_hides_the_gpu(value, backend, a_gpu, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    expected = f"CUDA_VISIBLE_DEVICES={value!r} hides it. Unset CUDA_VISIBLE_DEVICES."
    assert why_no_gpu(ON_CPU[backend]) == expected


def test_jax_told_to_use_the_cpu(a_gpu, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert why_no_gpu(ON_CPU["jax"]) == "JAX_PLATFORMS='cpu' hides it. Unset JAX_PLATFORMS."
    assert "CUDA libraries" in why_no_gpu(ON_CPU["tf"])


def test_jax_without_its_plug_in(a_gpu, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert why_no_gpu(ON_CPU["jax"]) == ('JAX has no CUDA plug-in. Run: pip install "jax[cuda13]".')


def test_jax_with_two_limits_of_memory(a_gpu, monkeypatch):
    for name in devices._MEMORY:
        monkeypatch.setenv(name, "0.9")
    assert why_no_gpu(ON_CPU["jax"]) == (
        "JAX starts no CUDA plug-in where XLA_CLIENT_MEM_FRACTION and "
        "XLA_PYTHON_CLIENT_MEM_FRACTION are set. Unset one of them."
    )


def test_a_plug_in_that_does_not_start(a_gpu, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert why_no_gpu(ON_CPU["jax"]).startswith("JAX' CUDA plug-in does not start. `JAX_PLATFORMS")


def test_a_gpu_that_was_chosen_and_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "current_device", lambda: ON_CPU["tf"])
    monkeypatch.setattr(devices, "_DRIVER", tmp_path / "none")
    with pytest.raises(
        ValueError,
        match=r"^device='gpu' was chosen, and Keras computes on the cpu \(it\), tensorflow: "
        r"This machine has no NVIDIA driver\. Leave out",
    ):
        check_device("gpu")
    assert check_device("cpu") == check_device(None) == ON_CPU["tf"]


def test_a_run_says_where_it_is_and_warns_of_another_device(capsys):
    first = report_device(Progress(), "float32", verbose=1)
    assert first.device == str(current_device())
    assert capsys.readouterr().err == f"device: {current_device()}, float32\n"
    assert report_device(first, "float32", verbose=0) == first
    assert capsys.readouterr().err == ""
    elsewhere = Progress(device="gpu (NVIDIA H100), jax")
    with pytest.warns(UserWarning, match=r"^The run was on gpu \(NVIDIA H100\), jax, and goes on"):
        report_device(elsewhere, "float32", verbose=0)


def test_a_run_warns_of_a_gpu_that_it_does_not_use(a_gpu, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    if current_device().kind != "cpu":
        pytest.skip("a GPU is used here")
    with pytest.warns(UserWarning, match=r"^There is a GPU, and it is not used: CUDA_VISIBLE_"):
        report_device(Progress(), "float32", verbose=0)


def test_a_gpu_that_was_hidden_by_choice_is_no_warning(a_gpu, monkeypatch, recwarn):
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, "before")  # restored after the test
    devices.hide_gpus()
    warn_of_unused_gpu(ON_CPU["jax"])
    assert not recwarn.list


@pytest.mark.parametrize("words", [["generate", "a"], ["evaluate", "TEXT"]])
def test_generate_and_evaluate_warn_of_a_gpu_that_they_do_not_use(
    a_gpu, monkeypatch, tmp_path, capsys, words
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    if current_device().kind != "cpu":
        pytest.skip("a GPU is used here")
    text_model().save_to_preset(tmp_path / "model")
    (tmp_path / "text.txt").write_text("the cat sat on the mat")
    words = [str(tmp_path / "text.txt") if word == "TEXT" else word for word in words]
    assert main([*words, "--model", str(tmp_path / "model")]) == 0
    warning = f"gpt2-keras {words[0]}: warning: There is a GPU, and it is not used: CUDA_VISIBLE_"
    assert warning in capsys.readouterr().err


def test_hidden_gpus_are_hidden_from_both_backends(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, "before")  # restored after the test
    monkeypatch.setattr(devices, "_chosen", set())
    devices.hide_gpus()
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["JAX_PLATFORMS"]) == ("-1", "cpu")


def test_the_program_computes_on_the_cpu_and_refuses_a_gpu_that_is_not_there(tmp_path):
    code = (
        "import sys; from gpt2_keras.cli.quiet import load_tensorflow as load; load('cpu')\n"
        "from gpt2_keras.devices import current_device; assert current_device().kind == 'cpu'\n"
        "try: load('gpu')\nexcept ValueError: sys.exit(0)\nsys.exit(9)"
    )
    wait_for([start("-c", code)])


def test_float16_on_jax_without_a_gpu_is_an_error_before_the_run(tmp_path, monkeypatch):
    jax = pytest.importorskip("jax")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    with pytest.raises(ValueError, match=r"^dtype float16 cannot be computed by JAX on a CPU"):
        check_compute_dtype("float16")
    for dtype in ("float32", "bfloat16"):
        check_compute_dtype(dtype)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    check_compute_dtype("float16")


def test_the_model_and_the_run_check_their_dtype(monkeypatch):
    checked = []
    monkeypatch.setattr(model_module, "check_compute_dtype", checked.append)
    monkeypatch.setattr(setup, "check_compute_dtype", checked.append)
    model = random_model(dtype="mixed_float16")
    model(np.array([[1]]))
    settings = TrainingSettings("shards", "tokenizer", learning_rate=1e-3, warmup_steps=1)
    setup.compile_model(model, settings)
    assert checked == ["float16", "float16"]
