"""The command `gpt2-keras evaluate`."""

import csv
import json

import pytest

from gpt2_keras.cli.main import main
from gpt2_keras.evaluation import evaluate
from tests.models import CORPUS, text_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models and files to evaluate them on."""
    home = tmp_path_factory.mktemp("evaluate")
    text_model(context_length=16, num_layers=1).save_to_preset(home / "one")
    text_model(context_length=32, num_layers=1, seed=1).save_to_preset(home / "two")
    (home / "a.txt").write_text(CORPUS[0] * 2)
    (home / "b.txt").write_text("the dog sat")
    (home / "last.jsonl").write_text('{"text": "the cat sat"}\n')
    question = {"context": "the cat", "choices": ["sat", "dog"], "label": 0}
    (home / "choice.jsonl").write_text(json.dumps(question))
    return home


def test_a_table_of_models_and_files_ends_with_the_protocols(folder, capsys):
    files = [str(folder / "a.txt"), str(folder / "b.txt")]
    models = ["--model", str(folder / "one"), "--model", str(folder / "two")]
    assert main(["evaluate", *files, *models]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].split()[:5] == ["model", "text", "tokens", "words", "bytes"]
    assert [line.split()[:2] for line in lines[1:7]] == [
        [str(folder / model), text] for model in ("one", "two") for text in (*files, "all")
    ]
    perplexity = evaluate(
        text_model(context_length=16, num_layers=1), CORPUS[0] * 2
    ).total.perplexity
    assert f"  {perplexity:,.3f}  " in lines[1]
    assert "windows of 16 tokens that move on by 8" in lines[8]
    assert "windows of 32 tokens that move on by 16" in lines[9]
    assert printed.err == ""


def test_json_and_csv_hold_the_results_of_texts_and_tasks(folder, tmp_path, capsys):
    words = ["evaluate", str(folder / "a.txt"), "--model", str(folder / "one"), "--stride", "4"]
    tasks = ["--last-word", str(folder / "last.jsonl")]
    tasks += ["--multiple-choice", str(folder / "choice.jsonl")]
    table = tmp_path / "table.csv"
    assert main([*words, *tasks, "--json", "--batch-size", "3", "--out", str(table)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["protocol"]["stride"] == 4
    assert found["total"]["num_tokens"] == found["texts"][0]["num_tokens"] > 16
    assert found["last_word"][0]["num_examples"] == 1
    assert found["multiple_choice"][0]["accuracy"] in (0, 1)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["text", "last_word", "multiple_choice"]
    assert float(rows[0]["perplexity"]) == found["texts"][0]["perplexity"]
    assert rows[0]["num_examples"] == ""


def test_tasks_alone_have_tables_and_reports_are_written(folder, tmp_path, capsys):
    words = ["evaluate", "--model", str(folder / "one"), "--out", str(tmp_path / "report.json")]
    assert main([*words, "--multiple-choice", str(folder / "choice.jsonl")]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["model", "text", "questions"]
    assert row.split()[2] == "1"
    (found,) = json.loads((tmp_path / "report.json").read_text())
    assert set(found) == {"model", "multiple_choice"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "error: name a FILE, --last-word FILE or --multiple-choice FILE"),
        (["a", "--stride", "0"], "argument --stride: expected an integer of at least 1, got 0"),
        (["a", "--detokenizer", "ptb"], "argument --detokenizer: invalid choice: 'ptb'"),
        (["a", "--out", "x.txt"], "argument --out: expected a name that ends in .json or .csv"),
    ],
)
def test_wrong_usage_exits_with_2(words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "--model", "m", *words])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (b"a", [], "file.txt has 1 tokens, fewer than two."),
        (b"", [], "file.txt"),
        (b"caf\xe9", [], "0xe9"),
        (
            b"a text",
            ["--stride", "17"],
            "error: --stride 17 is greater than 16. Use an integer from 1",
        ),
        (None, [], "file.txt"),
    ],
)
def test_bad_input_exits_with_1(folder, tmp_path, content, words, message, capsys):
    file = tmp_path / "file.txt"
    if content is not None:
        file.write_bytes(content)
    assert main(["evaluate", str(file), "--model", str(folder / "one"), *words]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("gpt2-keras evaluate: error: ")
    assert message in printed.err
    assert printed.out == ""
