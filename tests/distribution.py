"""How several processes divide the tests: what shares a costly fixture stays together.

pytest-xdist asks `make_scheduler`; what is longest starts first, so that no process is still at
work when the others have nothing left.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

# By the beginning of a test's name: what shares something that takes long to make.
TOGETHER = {
    "tests/export/test_tf_serving_": "serving",
    "tests/export/test_serving_load": "serving",
    "tests/export/test_litert.py": "device",
    "tests/export/test_on_device.py": "device",
    "tests/export/test_certificate": "certificate",
    "tests/cli/test_verify": "certificate",
    "tests/tokenizer/": "tokenizer",
    "tests/training/": "training",
    # What shares nothing with its module.
    "tests/test_readme.py::test_its_shell": "README's commands",
    "tests/test_readme.py::test_its_python": "README's program",
    "tests/test_readme.py::test_the_page": "the page on generation",
    "tests/training/test_strategy": "several devices",
    "tests/training/test_jax": "JAX",
}
LONGEST_FIRST = (
    "training",
    "serving",
    "tokenizer",
    "device",
    "certificate",
    "tests/export/test_saved_model.py",
    "README's commands",
    "tests/cli/test_demo_command.py",
    "tests/export/",
    "tests/generation/",
    "several devices",
    "JAX",
    "the page on generation",
    "README's program",
    "tests/finetuning/",
    "tests/examples/",
    "tests/cli/",
)


def group_of(nodeid: str) -> str:
    """Returns what a test is run together with: by custom its module."""
    begins = [name for name in TOGETHER if nodeid.startswith(name)]
    return TOGETHER[max(begins, key=len)] if begins else nodeid.split("::")[0]


def rank_of(nodeid: str) -> int:
    """Returns a number by which tests are sorted, the longest groups first."""
    group = group_of(nodeid)
    ranks = [rank for rank, name in enumerate(LONGEST_FIRST) if group.startswith(name)]
    return min(ranks, default=len(LONGEST_FIRST))


class Groups(LoadScopeScheduling):
    """Gives out groups, in the order of their tests."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def make_scheduler(config: pytest.Config, log: object) -> Groups:
    """Returns the scheduler, which would itself put the groups with most tests first."""
    config.option.loadscopereorder = False
    return Groups(config, log)
