"""The house rule on imports: they point one way, those inside functions included."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "gpt2_keras"

# A module or folder may import itself and what stands in an earlier tier.
TIERS = [
    {"version", "validation", "json_text", "token_ids", "private_api"},
    {"config", "devices", "generation_config", "atomic", "hashing", "litert_conversion"},
    {"tokenizer", "layers"},
    {"model", "data"},
    {"training", "checkpoints", "generation"},
    {"applications", "compression"},
    {"runs", "understanding", "verification"},
    {"evaluation"},
    {"export", "finetuning"},
    {"lm"},
    {"registration"},
    {"cli"},
]
RANK = {name: rank for rank, tier in enumerate(TIERS) for name in tier}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """`gpt2_keras.layers.cache` of a file, `gpt2_keras.layers` of a folder's `__init__.py`."""
    words = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(words[:-1] if words[-1] == "__init__" else words)


NAMES = {name_of(path): path for path in MODULES}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def nodes(tree: ast.AST):
    """Walks a tree, leaving out what only a type checker reads."""
    for child in ast.iter_child_nodes(tree):
        if not is_for_types(child):
            yield child
            yield from nodes(child)


def imported(source: str) -> set[str]:
    """The modules of this package that a source imports anywhere."""
    found = set()
    for node in nodes(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in NAMES else node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name in NAMES}


@cache
def imports_of(name: str) -> frozenset[str]:
    return frozenset(imported(NAMES[name].read_text(encoding="utf-8")) - {name})


def part_of(name: str) -> str | None:
    words = name.split(".")
    return words[1] if len(words) > 1 else None


def wrong_imports(name: str, imports: frozenset[str] | set[str]) -> list[str]:
    """Those of a module's imports that do not point to an earlier tier."""
    part = part_of(name)
    if part is None:
        return []  # `gpt2_keras/__init__.py` loads public names from every tier
    # `from gpt2_keras import GPT2LM` is an import of the module that has the class.
    parts = {other: part_of(other) or "lm" for other in imports}
    return [o for o, other in parts.items() if other != part and RANK[other] >= RANK[part]]


@pytest.mark.parametrize("name", NAMES)
def test_imports_point_one_way(name):
    assert part_of(name) is None or part_of(name) in RANK, "it has no tier: give it one"
    assert not wrong_imports(name, imports_of(name))


def cycles(graph: dict[str, frozenset[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(sorted(component))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def test_no_modules_import_each_other_in_a_circle():
    assert not cycles({name: imports_of(name) for name in NAMES})


def test_the_rule_sees_an_import_inside_a_function():
    source = "def f():\n    if True:\n        from gpt2_keras.lm import GPT2LM\n"
    assert wrong_imports("gpt2_keras.generation.generate", imported(source)) == ["gpt2_keras.lm"]
    lazy_name = "def f():\n    from gpt2_keras import GPT2LM\n"
    assert wrong_imports("gpt2_keras.data", imported(lazy_name)) == ["gpt2_keras"]
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import gpt2_keras.lm\n"
    assert not imported(for_types)


def test_a_circle_is_found():
    graph = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("b"), "d": frozenset("a")}
    assert cycles(graph) == [["b", "c"]]


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
