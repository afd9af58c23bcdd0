"""A run: the files of its directory, its best model, its end."""

import csv
import json

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2LM, GPT2Tokenizer
from gpt2_keras.data import TokenShards, make_dataset
from gpt2_keras.runs import RunDirectory, resume, train
from tests.bfloat16 import needs_bfloat16
from tests.runs.runs import assert_same_end, last_state, weights


def test_a_run_leaves_everything_in_its_directory(whole, prepared):
    names = ["checkpoints", "history.csv", "logs", "loss.png", "model", "settings.json"]
    assert sorted(path.name for path in whole.iterdir()) == names
    kept = sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert kept == ["step-00000008", "step-00000010"]
    with (whole / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["4", "8", "10"]
    assert all(float(row["loss"]) > 0 and float(row["val_loss"]) > 0 for row in rows)
    assert float(rows[-1]["learning_rate"]) == pytest.approx(0.001)
    assert all(float(row["gradient_norm"]) > 0 and float(row["mfu"]) > 0 for row in rows)
    settings = json.loads((whole / "settings.json").read_text())
    assert (settings["warmup_steps"], settings["evaluate_every"]) == (0, 4)
    assert (whole / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert list((whole / "logs").glob("*/events.*"))
    tokenizer = GPT2Tokenizer.from_directory(prepared / "tokenizer")
    assert GPT2LM.from_preset(whole).tokenizer == tokenizer


@needs_bfloat16
def test_the_model_kept_is_the_best_and_not_the_last(make_settings, tmp_path):
    class Scramble(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.weights[0].assign(self.model.weights[0] * 100)

    settings = make_settings(steps=8, learning_rate=1e-3, dtype="mixed_bfloat16")
    best = train(settings, tmp_path / "run", verbose=0, callbacks=[Scramble()], model_class=GPT2LM)
    progress = RunDirectory(tmp_path / "run").progress()
    assert (progress.step, progress.best["step"]) == (8, 4)
    best.compile(jit_compile=False)
    validation = TokenShards.open(settings.data).split(0.1)[1]
    data = make_dataset(validation, context_length=8, batch_size=4, shuffle=False, repeat=False)
    loss = best.evaluate(data.take(5), verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(progress.best["val_loss"], rel=1e-2)  # bfloat16 in training


def test_a_run_with_samples_ends_like_one_without(make_settings, whole, tmp_path):
    out = tmp_path / "run"
    train(make_settings(sample_prompts=("the cat",)), out, verbose=0, model_class=GPT2LM)
    assert_same_end(out, whole)
    lines = (out / "samples.txt").read_text().splitlines()
    headings = [line for line in lines if not line.startswith("  ")]
    assert headings == ["step 4", "step 8", "step 10"]
    assert sum(line.startswith("  the cat") for line in lines) == 6  # greedy and sampled


def test_a_run_that_is_over_is_only_loaded(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    model = resume(whole, verbose=0, model_class=GPT2LM)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before
    for ours, theirs in zip(weights(model), weights(GPT2LM.from_preset(whole)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_patience_ends_a_run_that_gets_no_better(make_settings, tmp_path):
    settings = make_settings(steps=40, evaluate_every=1, learning_rate=1e-30, patience=2)
    train(settings, tmp_path / "run", verbose=0, model_class=GPT2LM)
    progress = RunDirectory(tmp_path / "run").progress()
    assert (progress.step, progress.best["step"]) == (3, 1)


def test_training_starts_from_another_model(make_settings, whole, tmp_path):
    shape = dict.fromkeys(("num_layers", "num_heads", "hidden_dim", "context_length"))
    settings = make_settings(init=str(whole), **shape, steps=4, learning_rate=1e-9)
    train(settings, tmp_path / "second", verbose=0, model_class=GPT2LM)
    second = RunDirectory(tmp_path / "second").progress().best["val_loss"]
    assert second == pytest.approx(RunDirectory(whole).progress().best["val_loss"], abs=1e-4)


class StopAfter(keras.callbacks.Callback):
    """Asks Keras to stop after a step."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            self.model.stop_training = True


def test_a_callback_may_end_a_run_anywhere_and_it_can_be_resumed(make_settings, whole, tmp_path):
    run = RunDirectory(tmp_path / "run")
    train(make_settings(), run.path, verbose=0, callbacks=[StopAfter(3)], model_class=GPT2LM)
    assert run.progress().step == 3
    assert run.progress().history[-1]["step"] == 3
    resume(run.path, verbose=0, model_class=GPT2LM)
    assert run.progress().step == make_settings().steps
    ours, theirs = last_state(run.path), last_state(whole)
    for name in theirs:
        if not name.startswith("metrics"):
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
