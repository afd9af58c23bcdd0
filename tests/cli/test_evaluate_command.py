"""The command `gpt2-keras evaluate`."""

import csv
import json

import pytest

from gpt2_keras.cli.main import main
from gpt2_keras.evaluation import evaluate, evaluate_task
from tests.evaluation.data_sets import write
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


def test_published_figures_and_rules_stand_beside_ours(folder, tmp_path, capsys):
    file = write(tmp_path, "wikitext-2")
    words = ["evaluate", "--model", str(folder / "one"), "--task", "wikitext-2"]
    words += ["--data", str(file), "--protocol", "lm-eval", "--protocol", "paper"]
    assert main([*words, "--out", str(tmp_path / "table.csv")]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].split() == [
        "model",
        *["task", "protocol", "measure", "here", "published", "of", "in"],
    ]
    model = text_model(context_length=16, num_layers=1)
    for line, name, published in ((lines[1], "lm-eval", "37.37"), (lines[3], "paper", "29.41")):
        measures = evaluate_task(model, "wikitext-2", file, protocol=name).measures
        ours = f"{measures['perplexity']:,.4g}"
        assert line.split()[2:7] == [name, "perplexity", ours, published, "gpt2"]
    assert lines[4].split()[3:] == ["token_perplexity", *lines[4].split()[4:5], "-", "-", "-"]
    assert lines[6].startswith(
        "lm-eval: scored: text; disjoint windows, the last one full; per page"
    )
    assert lines[8].startswith("paper, not known: The windows are not stated")
    with (tmp_path / "table.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [(row["kind"], row["protocol"]) for row in rows[::2]] == [
        ("task", "lm-eval"),
        ("task", "paper"),
    ]
    assert main([*words, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [each["protocol"]["name"] for each in found["task"]] == ["lm-eval", "paper"]


def test_accuracies_are_shown_in_percent(folder, tmp_path, capsys):
    words = ["evaluate", "--model", str(folder / "two"), "--task", "hellaswag"]
    assert main([*words, "--data", str(write(tmp_path, "hellaswag"))]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[3] == "accuracy"
    assert line.split()[4] in ("0.00%", "100.00%")
    assert line.split()[5:7] == ["28.92%", "gpt2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "error: name a FILE, --last-word FILE, --multiple-choice FILE or --task"),
        (["a", "--task", "ptb"], "error: --task NAME and --data FILE belong together; name both"),
        (["--data", "a"], "error: --task NAME and --data FILE belong together; name both"),
        (["a", "--protocol", "paper"], "error: --protocol is of a --task; name one"),
        (["--task", "lambada", "--data", "a"], "argument --task: invalid choice: 'lambada'"),
        (
            ["--task", "ptb", "--data", "a", "--protocol", "llm.c"],
            "error: protocol='llm.c' says nothing of task='ptb', which has 'paper' and 'megatron'.",
        ),
        (["a", "--stride", "0"], "argument --stride: expected an integer of at least 1, got 0"),
        (["a", "--detokenizer", "penn"], "argument --detokenizer: invalid choice: 'penn'"),
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
