"""The command `gpt2-keras train`."""

import argparse
import dataclasses
import json
import os
import signal

import keras
import pytest

from gpt2_keras import GPT2LM, GPT2Tokenizer
from gpt2_keras.cli.main import main
from gpt2_keras.cli.train_flags import add_settings, field_of
from gpt2_keras.data import prepare
from gpt2_keras.runs import TrainingSettings, cost_estimate, monitoring
from gpt2_keras.runs.setting_checks import CHECKS
from tests.models import CORPUS
from tests.runs.runs import At

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


def test_it_trains_and_prints_the_paths_of_the_results(files, tmp_path, capsys):
    out = tmp_path / "run"
    monitor = ["--sample-prompt", "the cat", "--sample-prompt", "a dog", "--peak-flops", "1e9"]
    assert main(["train", *files, "--out", str(out), *TINY_FLAGS, *monitor]) == 0
    printed = capsys.readouterr()
    assert f"model            {out}/model\n" in printed.out
    assert "mfu: fraction of 1 GFLOP/s (as stated) that the training uses" in printed.err
    assert "gradient_norm: " in printed.err
    _, first, second = (out / "samples.txt").read_text().split("step ")
    assert first in printed.err
    assert second in printed.err
    assert first.count("\n  the cat") == first.count("\n  a dog") == 2
    assert "the cat" not in printed.out
    assert f"next             gpt2-keras generate --model {out}" in printed.out
    assert "validation loss  " in printed.out
    assert "tokens_per_second" not in printed.out
    assert "tokens_per_second" in printed.err  # the progress of Keras
    assert GPT2LM.from_preset(out).config.hidden_dim == 16


def test_a_dry_run_prints_the_costs_and_writes_nothing(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cost_estimate, "LONGEST_TIMING_SECONDS", 0.0)
    out = tmp_path / "run"
    words = ["train", *files, "--out", str(out), *TINY_FLAGS, "--dry-run"]
    assert main(words) == 0
    table = {line.split("  ")[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert table["parameters"][-1].replace(",", "").isdecimal()
    assert table["tokens"][-1] == "192"
    assert {"memory, at least", "FLOPs per token", "mfu", "time", "epochs"} <= set(table)
    assert not out.exists()
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 6
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert main(words) == 1
    assert "new or empty directory" in capsys.readouterr().err


def test_json_is_for_programs(files, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", *files, "--out", str(out), *TINY_FLAGS, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["steps"] == 6
    assert results["best"]["val_loss"] > 0
    assert results["model"] == str(out / "model")
    assert results["loss_plot"] == str(out / "loss.png")


def test_a_signal_saves_and_prints_how_to_resume(files, tmp_path, capsys, monkeypatch):
    flags = [*TINY_FLAGS, "--checkpoint-every", "1", "--keep-checkpoints", "3", "--ema", "0.5"]
    interrupt_at(monkeypatch, 5, signal.SIGTERM)
    out = str(tmp_path / "run")
    assert main(["train", *files, "--out", out, *flags]) == 143
    error = capsys.readouterr().err
    assert f"kept: {out}/model, the best model, of step 3" in error
    assert (
        "stopped by SIGTERM after step 5, which is saved; resume from step 5: "
        f"gpt2-keras train --out {out} --resume\n"
    ) in error
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["step-00000003", "step-00000004", "step-00000005"]
    weights = tmp_path / "run" / "checkpoints" / kept[-1] / "state.npz"
    weights.write_bytes(weights.read_bytes()[:1000])
    monkeypatch.undo()
    assert main(["train", "--out", out, "--resume", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["steps"] == 6
    warning = next(line for line in printed.err.splitlines() if "warning" in line)
    assert warning.startswith("gpt2-keras train: warning: step-00000005: state.npz is damaged: ")


def test_ctrl_c_twice_stops_at_once(files, tmp_path, capsys, monkeypatch):
    class Twice(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    add_callback(monkeypatch, Twice())
    out = str(tmp_path / "run")
    assert main(["train", *files, "--out", out, *TINY_FLAGS]) == 130
    assert (
        f"stopped at once; resume from step 0: gpt2-keras train --out {out} --resume\n"
    ) in capsys.readouterr().err


def interrupt_at(monkeypatch, batches, number):
    add_callback(monkeypatch, At(batches, number))


def add_callback(monkeypatch, callback):
    speed = monitoring.TokensPerSecond
    monkeypatch.setattr(monitoring, "TokensPerSecond", lambda *figures: [speed(*figures), callback])


def test_an_existing_directory_is_not_touched(files, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["train", *files, "--out", str(tmp_path), *TINY_FLAGS]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"gpt2-keras train: error: {tmp_path} is not empty (it has 1 entries)")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    # Nor is it mistaken for this one, which could be resumed.
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "model").mkdir()
    assert main(["train", *files, "--out", str(tmp_path), *TINY_FLAGS]) == 1
    error = capsys.readouterr().err
    assert "is not empty (it has 3 entries)" in error
    assert "--resume" not in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps", "0"], "argument --steps: expected an integer of at least 1, got 0"),
        (["--dropout", "1"], "argument --dropout: expected a number of at least 0 and below 1"),
        (["--size", "gpt3"], "argument --size: invalid choice: 'gpt3'"),
        (["--dtype", "half"], "argument --dtype: invalid choice: 'half'"),
        ([], "the following arguments are required: --data, --tokenizer"),
        (
            ["--resume", "--seed", "3", "--dropout", "0.1", "--learning-rate", "1", "--steps", "9"],
            "run/settings.json; remove --dropout, --learning-rate, --seed, or start a new run",
        ),
        (["--data", "a", "--tokenizer", "b", "--skip-batches", "2"], "needs --resume"),
        (["--resume", "--dry-run"], "--dry-run estimates a new run"),
        (["--peak-flops", "0"], "argument --peak-flops: expected a number above 0"),
        (["--keep-checkpoints", "0"], "argument --keep-checkpoints: expected an integer of at"),
        (["--schedule", "step"], "argument --schedule: invalid choice: 'step'"),
    ],
)
def test_wrong_usage_exits_with_2(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--out", "run", *flags])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "remat"), [([], None), (["--remat"], True), (["--remat", "products"], "products")]
)
def test_rematerialization_is_a_switch_that_may_have_a_value(words, remat):
    parser = argparse.ArgumentParser()
    add_settings(parser)
    required = ["--data", "shards", "--tokenizer", "tokenizer"]
    assert parser.parse_args([*required, *words]).remat == remat


def test_products_are_kept_on_jax_only(files, tmp_path, capsys):
    command = ["train", *files, "--out", str(tmp_path / "run"), "--remat", "products"]
    assert main(command) == 1
    assert "Only JAX can keep the products" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_two_shapes_at_once_are_an_error(files, tmp_path, capsys):
    flags = ["--out", str(tmp_path / "run"), "--size", "gpt2", "--num-heads", "2"]
    assert main(["train", *files, *flags]) == 1
    assert "--size gpt2 decides the shape of the model, and --num-heads" in capsys.readouterr().err


def test_every_setting_but_jit_compile_has_a_flag():
    parser = argparse.ArgumentParser()
    add_settings(parser)
    actions = {
        field_of(action.option_strings[0]): action
        for action in parser._actions
        if action.dest != "help"
    }
    fields = {field.name for field in dataclasses.fields(TrainingSettings)}
    assert actions.keys() == fields - {"jit_compile"}
    for name in ("schedule", "strategy", "dtype"):
        assert actions[name].choices == CHECKS[name].keywords["choices"]
