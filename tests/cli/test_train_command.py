"""`gpt2-keras train` from the outside."""

import json

import keras
import pytest

from gpt2_keras import GPT2LM, GPT2Tokenizer
from gpt2_keras.cli.main import main
from gpt2_keras.data import prepare
from gpt2_keras.training import run as run_module
from tests.models import CORPUS

FLAGS_AS_TYPED = """
    --num-layers 1 --num-heads 2 --hidden-dim 16 --context-length 8 --dropout 0 --steps 6
    --batch-size 4 --learning-rate 0.01 --evaluate-every 3 --evaluation-batches 4
"""
TINY_FLAGS = FLAGS_AS_TYPED.split()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The flags that name shards and their tokenizer."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "text.txt").write_text("".join(CORPUS) * 4, encoding="utf-8")
    tokenizer = GPT2Tokenizer.train(CORPUS, vocab_size=280)
    tokenizer.save(folder / "tokenizer")
    prepare([folder / "text.txt"], tokenizer, folder / "shards")
    return ["--data", str(folder / "shards"), "--tokenizer", str(folder / "tokenizer")]


def test_it_trains_and_says_where_things_are(files, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", *files, "--out", str(out), *TINY_FLAGS]) == 0
    printed = capsys.readouterr()
    assert f"model            {out}/model\n" in printed.out
    assert f"next             gpt2-keras generate --model {out}" in printed.out
    assert "validation loss  " in printed.out
    assert "tokens_per_second" not in printed.out
    assert "tokens_per_second" in printed.err  # the progress of Keras
    assert GPT2LM.from_preset(out).config.hidden_dim == 16


def test_json_is_for_programs(files, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", *files, "--out", str(out), *TINY_FLAGS, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["steps"] == 6
    assert results["best"]["val_loss"] > 0
    assert results["model"] == str(out / "model")


def test_ctrl_c_says_what_is_kept_and_resume_goes_on(files, tmp_path, capsys, monkeypatch):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    speed = run_module.TokensPerSecond
    monkeypatch.setattr(run_module, "TokensPerSecond", lambda tokens: [speed(tokens), Interrupt()])
    out = str(tmp_path / "run")
    assert main(["train", *files, "--out", out, *TINY_FLAGS]) == 130
    error = capsys.readouterr().err
    assert f"kept: {out}/model, the best model, of step 3" in error
    assert f"go on from step 3: gpt2-keras train --out {out} --resume" in error
    monkeypatch.undo()
    assert main(["train", "--out", out, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 6


def test_ctrl_c_before_the_first_evaluation_says_so(files, tmp_path, capsys, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(GPT2LM, "fit", interrupt)
    assert main(["train", *files, "--out", str(tmp_path / "run"), *TINY_FLAGS]) == 130
    assert "stopped before the first evaluation: no model yet" in capsys.readouterr().err


def test_a_run_that_is_there_is_not_touched(files, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["train", *files, "--out", str(tmp_path), *TINY_FLAGS]) == 1
    error = capsys.readouterr().err
    assert error.startswith("gpt2-keras train: error: The output must be a new or empty directory")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps", "0"], "argument --steps: expected an integer of at least 1, got 0"),
        (["--dropout", "1"], "argument --dropout: expected a number of at least 0 and below 1"),
        (["--size", "gpt3"], "argument --size: invalid choice: 'gpt3'"),
        (["--dtype", "half"], "argument --dtype: invalid choice: 'half'"),
        ([], "the following arguments are required: --data, --tokenizer"),
        (
            ["--resume", "--seed", "3"],
            "--resume takes every setting from run/settings.json; remove",
        ),
    ],
)
def test_wrong_usage_exits_with_2(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--out", "run", *flags])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_two_shapes_at_once_are_an_error(files, tmp_path, capsys):
    flags = ["--out", str(tmp_path / "run"), "--size", "gpt2", "--num-heads", "2"]
    assert main(["train", *files, *flags]) == 1
    assert "size='gpt2' and num_heads=2" in capsys.readouterr().err
