"""The house rule on imports: they point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "gpt2_keras"

# Each module or folder may import, at module level, itself and what stands in an earlier tier.
TIERS = [
    {"version", "atomic", "litert_conversion"},
    {"config", "stages"},
    {"tokenizer", "layers"},
    {"model", "data"},
    {"checkpoints", "generation", "training", "finetuning"},
    {"evaluation"},
    {"export"},
    {"cli"},
]
# Loads its parts on first use, or opens doors to later stages inside functions.
FACADES = {"__init__"}
RANK = {name: rank for rank, tier in enumerate(TIERS) for name in tier}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE / "__pycache__")


def part_of(path):
    relative = path.relative_to(PACKAGE).with_suffix("")
    return relative.parts[0]


def module_level_imports(path):
    """Names of this package's modules that are imported when the file is."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from [alias.name for alias in node.names]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    part = part_of(path)
    if part in FACADES:
        return
    assert part in RANK, f"{part} has no tier: give it one"
    for name in module_level_imports(path):
        words = name.split(".")
        if words[0] == "gpt2_keras" and words[1] != part:
            assert RANK[words[1]] < RANK[part], f"{path} imports {name}"


def test_relative_imports_are_not_used():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


def modules_after(statement):
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split("\n")[-2].split())


HEAVY = {"tensorflow", "keras", "numpy", "matplotlib", "tokenizers", "safetensors"}


def test_the_package_alone_loads_nothing_heavy():
    assert not modules_after("import gpt2_keras") & HEAVY


def test_the_help_of_every_command_loads_nothing_heavy():
    code = "from gpt2_keras.cli.main import _parser; _parser().format_help()"
    assert not modules_after(code) & HEAVY


def test_the_host_tokenizer_loads_no_tensorflow():
    loaded = modules_after("from gpt2_keras import GPT2Tokenizer")
    assert not loaded & {"tensorflow", "keras"}
    assert "tokenizers" in loaded


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import gpt2_keras

    with pytest.raises(AttributeError, match="no attribute 'GPT3LM'"):
        gpt2_keras.GPT3LM  # noqa: B018
    assert "GPT2LM" in dir(gpt2_keras)
