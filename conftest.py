"""Settings of the whole suite, doctests included: quiet TensorFlow, no GPU, no window."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")

import importlib.util
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

# A shell that starts a command in the background lets it ignore Ctrl-C, which is tested here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Modules that are imported only where what they are for is installed.
_NEEDS = {
    "gpt2_keras/data/apache_beam/*.py": "apache_beam",
    "gpt2_keras/evaluation/harness.py": "lm_eval",
}
collect_ignore_glob = [
    path for path, package in _NEEDS.items() if importlib.util.find_spec(package) is None
]


@pytest.fixture(autouse=True, scope="session")
def names_of_docstring_examples(doctest_namespace: dict[str, Any]) -> None:
    """Every example may use NumPy and the public names without importing them."""
    import numpy as np

    doctest_namespace.update(np=np, Path=Path, tempfile=tempfile)
    import gpt2_keras

    for name in ("GPT2Config", "GPT2LM", "GPT2Tokenizer"):
        doctest_namespace[name] = getattr(gpt2_keras, name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Divides the tests among processes, for `pytest -n 2`."""
    from tests.distribution import make_scheduler

    return make_scheduler(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sorts the tests, those of the longest groups first, where processes divide them."""
    if hasattr(config, "workerinput"):
        from tests.distribution import rank_of

        items.sort(key=lambda item: rank_of(item.nodeid))
