"""`gpt2-keras prune`, and `prepare --teacher`: what they write, print and reject."""

import json

import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.cli.main import main
from gpt2_keras.data import TokenShards
from gpt2_keras.data.teacher_logits import TeacherLogits
from gpt2_keras.tokenizer import GPT2Tokenizer
from tests.models import CORPUS, text_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of `model` and `text.txt`."""
    path = tmp_path_factory.mktemp("prune")
    text_model(num_layers=3).save_to_preset(path / "model")
    (path / "text.txt").write_text(" ".join(CORPUS), encoding="utf-8")
    return path


def test_a_smaller_model_is_written_and_both_are_measured(folder, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--layers", "2", "--ffn", "20", "--texts", folder / "text.txt"]
    assert (
        main(["prune", "--model", str(folder / "model"), *map(str, words), "--out", str(out)]) == 0
    )
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:4] == ["model", "layers", "ffn", "vocabulary"]
    assert printed[1].split()[1:4] == ["3", "64", "280"]
    assert printed[2].split()[1:4] == ["2", "20", "280"]
    words = f"gpt2-keras train --init {out} --data tokens --out run --teacher {folder / 'model'}"
    assert printed[3] == f"Next: {words}"
    config = GPT2LM.from_preset(out).config
    assert (config.num_layers, config.intermediate_dim) == (2, 20)


def test_a_vocabulary_of_a_text_as_json(folder, tmp_path, capsys):
    (tmp_path / "few.txt").write_text("the cat")
    command = ["prune", "--model", str(folder / "model"), "--out", str(tmp_path / "out"), "--json"]
    command += ["--layers", "0,2", "--vocabulary", str(tmp_path / "few.txt")]
    assert main(command) == 0
    before, after = json.loads(capsys.readouterr().out)
    assert after["vocabulary"] < before["vocabulary"] == 280
    assert (after["layers"], after["parameters"] < before["parameters"]) == (2, True)
    tokenizer = GPT2Tokenizer.from_directory(tmp_path / "out")
    assert tokenizer.vocab_size == after["vocabulary"]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "name --layers, --ffn or --vocabulary: there is nothing to prune"),
        (["--layers", "x"], 2, "argument --layers: expected a number of layers, such as 6, or a"),
        (["--ffn", "0"], 2, "argument --ffn: expected an integer of at least 1, got 0"),
        (["--layers", "4"], 1, "error: --layers 4 is greater than 3. Use an integer from 1 to 3"),
        (["--layers", "0,3"], 1, "layers[1]=3 is greater than 2"),
        (["--layers", "2", "--texts", "missing.txt"], 1, "missing.txt"),
        (["--ffn", "65"], 1, "65 is greater than 64"),
    ],
)
def test_mistakes(folder, tmp_path, capsys, words, status, message):
    command = ["prune", "--model", str(folder / "model"), "--out", str(tmp_path / "out"), *words]
    if status == 2:
        with pytest.raises(SystemExit) as end:
            main(command)
        assert end.value.code == 2
    else:
        assert main(command) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(folder, capsys):
    command = ["prune", "--model", str(folder / "model"), "--out", str(folder), "--layers", "1"]
    assert main(command) == 1
    assert "is not empty" in capsys.readouterr().err


def test_a_teachers_logits_are_stored_with_new_shards_and_beside_old_ones(folder, tmp_path, capsys):
    teacher, out = str(folder / "model"), str(tmp_path / "tokens")
    text = str(folder / "text.txt")
    assert main(["prepare", text, "--teacher", teacher, "--top-k-logits", "3", "--out", out]) == 0
    printed = capsys.readouterr().out
    assert f"the 3 largest logits of {teacher} for each are beside them" in printed
    assert f"--data {out} --teacher {teacher} --teacher-logits --out run" in printed
    logits = TeacherLogits.open(TokenShards.open(out))
    assert (logits.top_k, logits.temperature) == (3, 2.0)
    old = str(tmp_path / "old")
    assert main(["prepare", text, "--tokenizer", teacher, "--out", old]) == 0
    capsys.readouterr()
    again = ["prepare", "--teacher", teacher, "--top-k-logits", "3", "--out", old, "--json"]
    assert main([*again, "--temperature", "4"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["top_k_logits"], made["temperature"]) == (3, 4.0)
    assert made["teacher"] == logits.teacher
    assert main([*again, "--temperature", "3"]) == 1
    assert "and nothing is overwritten. Move it away first." in capsys.readouterr().err


def test_a_teacher_that_does_not_fit_is_found_before_the_work(folder, tmp_path, capsys):
    GPT2Tokenizer.train(["xyz" * 50], 257).save(tmp_path / "tokenizer")
    command = ["prepare", str(folder / "text.txt"), "--out", str(tmp_path / "tokens")]
    teacher = ["--teacher", str(folder / "model")]
    assert main([*command, *teacher, "--tokenizer", str(tmp_path / "tokenizer")]) == 1
    assert "has another tokenizer, with a vocabulary of 280, than" in capsys.readouterr().err
    assert not (tmp_path / "tokens").exists()
    with pytest.raises(SystemExit):
        main(["prepare", "--out", str(tmp_path / "tokens")])
    assert "required: FILE, --tokenizer (or --teacher)" in capsys.readouterr().err
