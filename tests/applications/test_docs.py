"""docs/applications.md: its programs and commands run, and its figure is the measured one."""

import json
import re
import shlex
from pathlib import Path

import pytest

from gpt2_keras.applications.task_rows import TRAINED_TASKS
from gpt2_keras.cli.arguments import APPLICATIONS
from gpt2_keras.cli.main import _parser, main
from tests.models import CORPUS, text_model

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "applications.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a model and the files that the page names."""
    monkeypatch.chdir(tmp_path)
    text_model(context_length=256, num_layers=1).save_to_preset("run")
    Path("article.txt").write_text(CORPUS[0])
    rows = {
        "pairs": [{"source": "the cat", "target": "le chat"}],
        "articles": [{"text": CORPUS[0][:40], "summary": "the cat sat."}] * 4,
        "labels": [{"text": "the cat", "label": "good"}, {"text": "a", "label": "bad"}] * 4,
    }
    for name, found in rows.items():
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    return tmp_path


def test_its_program_runs(home, capsys):
    (program,) = blocks("python")
    exec(program, {})  # noqa: S102
    assert "'role': 'assistant'" in capsys.readouterr().out


def test_its_commands_run(home, capsys):
    *answering, exporting, measuring = blocks("sh")
    assert "export --model run" in exporting
    for line in [line for block in (*answering, measuring) for line in block.splitlines()]:
        program, *words = shlex.split(line)
        assert program == "gpt2-keras"
        assert main(words) == 0, (line, capsys.readouterr().err)


def test_the_lines_of_the_readme_run(home, capsys):
    Path("story.txt").write_text(CORPUS[0])
    section = README.split("## Using it\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    summarizing, answering, *others = [shlex.split(line)[1:] for line in block.splitlines()]
    for words in (summarizing, answering):
        assert main(words) == 0, (words, capsys.readouterr().err)
    # What takes longer is run with the lines of the page.
    assert [words[0] for words in others] == ["chat", "train", "export"]
    for words in others:
        assert _parser().parse_args(words).command == words[0]


def test_the_tasks_of_the_commands_are_those_that_are_trained():
    assert APPLICATIONS == TRAINED_TASKS


@pytest.mark.slow
def test_its_exports_run(home, capsys, short_certificates):
    exporting = blocks("sh")[-2]
    for line in exporting.splitlines():
        assert main(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)


def test_its_figure_was_measured():
    results = json.loads((ROOT / "benchmarks/results/evaluation.json").read_text(encoding="utf-8"))
    assert f"answer took {results['tenth_to_first']:.2f} times as long as the first" in " ".join(
        PAGE.split()
    )
    assert results["tenth_to_first"] <= 1.3
    assert results["processor"].split()[0] in PAGE


def test_its_links_are_there():
    for path in re.findall(r"\]\(([\w./-]+)\)", PAGE):
        assert (ROOT / "docs" / path).exists(), path
