"""Divides the tests among processes: those that share a costly fixture stay together.

pytest-xdist calls `make_scheduler`. The longest groups start first, so that all processes end
at about the same time.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

# By the beginning of a test's name: its group, whose tests share a costly fixture.
TOGETHER = {
    "tests/export/test_tf_serving_": "serving",
    "tests/export/test_serving_load": "serving",
    "tests/export/test_litert.py": "device",
    "tests/export/test_on_device.py": "device",
    "tests/export/test_device_explorer.py": "device",
    "tests/verification/": "certificate",
    "tests/cli/test_verify": "certificate",
    "tests/tokenizer/": "tokenizer",
    "tests/runs/": "runs",
    # Tests that share nothing with the rest of their module or folder.
    "tests/test_readme.py::test_its_shell": "README's commands",
    "tests/test_readme.py::test_its_python": "README's program",
    "tests/test_readme.py::test_the_page": "the page on generation",
    "tests/runs/test_distribution": "several devices",
}
LONGEST_FIRST = (
    "runs",
    "serving",
    "tokenizer",
    "device",
    "certificate",
    "tests/export/test_saved_model.py",
    "README's commands",
    "tests/cli/test_demo_command.py",
    "tests/export/",
    "tests/generation/",
    "tests/training/",
    "several devices",
    "the page on generation",
    "README's program",
    "tests/finetuning/",
    "tests/examples/",
    "tests/cli/",
)


def group_of(nodeid: str) -> str:
    """Returns the group of a test, by default its module."""
    begins = [name for name in TOGETHER if nodeid.startswith(name)]
    return TOGETHER[max(begins, key=len)] if begins else nodeid.split("::")[0]


def rank_of(nodeid: str) -> int:
    """Returns the sort key of a test; the longest groups have the smallest."""
    group = group_of(nodeid)
    ranks = [rank for rank, name in enumerate(LONGEST_FIRST) if group.startswith(name)]
    return min(ranks, default=len(LONGEST_FIRST))


class Groups(LoadScopeScheduling):
    """Sends whole groups to the processes, in the order of their tests."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def make_scheduler(config: pytest.Config, log: object) -> Groups:
    """Returns the scheduler, without its own reordering by the number of tests."""
    config.option.loadscopereorder = False
    return Groups(config, log)
