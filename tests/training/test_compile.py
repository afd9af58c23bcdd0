import keras
import pytest

from gpt2_keras.training import jit_by_default
from tests.models import random_model


@pytest.mark.parametrize(
    ("backend", "devices", "expected"),
    [
        ("tensorflow", {}, False),
        ("tensorflow", {"gpu": ["gpu:0"]}, "auto"),
        ("tensorflow", {"tpu": ["tpu:0"]}, "auto"),
        ("jax", None, "auto"),  # there the list may not be asked for: it raises
    ],
)
def test_only_on_tensorflows_cpu_nothing_is_compiled(monkeypatch, backend, devices, expected):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: devices.get(kind, []))
    assert jit_by_default() == expected


def test_compile_takes_the_default_and_what_the_caller_says():
    model = random_model()
    model.compile()
    assert model.jit_compile is False
    model.compile(jit_compile=True)
    assert model.jit_compile is True
