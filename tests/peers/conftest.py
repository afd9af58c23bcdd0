"""Comparisons with other systems: `make test-peers`. Skipped if one is not installed."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.peers)
            # Raised inside PyTorch and transformers, which we cannot change.
            item.add_marker(pytest.mark.filterwarnings("ignore"))


def pytest_ignore_collect(collection_path, config):
    # Importing the modules would import PyTorch.
    return True if "not peers" in (config.option.markexpr or "") else None
