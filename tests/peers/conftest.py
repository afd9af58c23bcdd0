"""Comparisons with other systems: `make test-peers`. Skipped if one is not installed."""

import contextlib
import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_configure(config):
    if config.option.markexpr == "peers":
        # Before TensorFlow: after it, triton 3.8, of PyTorch 2.14, ends the process.
        with contextlib.suppress(ImportError):
            importlib.import_module("transformers.models.gpt2.modeling_gpt2")


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.peers)
            # Raised inside PyTorch and transformers, which we cannot change.
            item.add_marker(pytest.mark.filterwarnings("ignore"))


def pytest_ignore_collect(collection_path, config):
    # Importing the modules would import PyTorch, which only `make test-peers` installs.
    return None if config.option.markexpr == "peers" else True
