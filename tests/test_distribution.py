"""The lists of `tests.distribution` name tests that exist."""

import re
from pathlib import Path

import pytest

from tests.distribution import LONGEST_FIRST, TOGETHER, group_of, rank_of

ROOT = Path(__file__).resolve().parents[1]
MODULES = [str(path.relative_to(ROOT)) for path in ROOT.glob("tests/**/test_*.py")]


@pytest.mark.parametrize("name", TOGETHER)
def test_every_grouped_name_exists(name):
    module, *function = name.split("::")
    found = [path for path in MODULES if path.startswith(module)]
    assert found
    for begin in function:
        assert re.search(rf"^def {begin}", (ROOT / found[0]).read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", LONGEST_FIRST)
def test_every_ranked_name_exists(name):
    assert name in TOGETHER.values() or any(path.startswith(name) for path in MODULES)


def test_the_longest_name_that_fits_decides_the_group():
    assert group_of("tests/runs/test_run.py::test_a") == "runs"
    assert group_of("tests/runs/test_distribution.py::test_a") == "several devices"
    assert group_of("tests/test_atomic.py::test_a[x::y]") == "tests/test_atomic.py"
    assert rank_of("tests/runs/test_run.py::test_a") == 0
    assert rank_of("tests/test_atomic.py::test_a") == len(LONGEST_FIRST)
