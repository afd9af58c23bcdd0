"""docs/architecture.md and the README name files that exist, and every folder."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gpt2_keras"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def named_paths(text):
    """What looks like a path of a file or a folder, from the root or from the package."""
    return sorted(set(re.findall(r"(?<![\w./])[\w]+(?:/[\w.]+)*(?:\.py|/)(?![\w.])", text)))


@pytest.mark.parametrize("path", named_paths(PAGE))
def test_every_file_that_the_page_names_exists(path):
    found = [root / path for root in (ROOT, PACKAGE, PACKAGE / "data", PACKAGE / "tokenizer")]
    assert any(each.exists() for each in [*found, PACKAGE / "layers" / path]), path


def test_the_page_has_the_rows_of_every_part_of_the_package():
    parts = [each for each in PACKAGE.iterdir() if each.suffix == ".py" or each.is_dir()]
    for part in parts:
        if not part.name.startswith("__"):
            name = f"`gpt2_keras/{part.name}{'/' if part.is_dir() else ''}`"
            assert f"| {name} |" in PAGE, name


def test_the_tiers_of_the_page_are_those_of_the_import_test():
    from tests.test_imports import RANK

    rows = re.findall(r"^\| `gpt2_keras/(\w+)(?:\.py|/)` \|", PAGE, re.MULTILINE)
    ranks = [RANK[name] for name in rows]
    assert ranks == sorted(ranks)


def test_the_links_of_the_readme_to_the_code_exist():
    section = README.split("## Where to read the code")[1].split("\n## ")[0]
    links = re.findall(r"\]\(([\w./]+)\)", section)
    assert "docs/architecture.md" in links
    for link in links:
        assert (ROOT / link).exists(), link
