"""Runs that stop, and go on as if they had not."""

import json
import shutil
import signal

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.runs import RunDirectory, Stopped, resume, train
from gpt2_keras.runs import run as run_module
from gpt2_keras.runs.checkpoint_callback import Recorder
from gpt2_keras.runs.distribution import Strategy
from gpt2_keras.runs.progress import Progress
from gpt2_keras.runs.signals import StopSignals
from tests.models import random_model
from tests.runs.runs import At, assert_same_end, last_state, weights


def test_stopping_anywhere_and_resuming_equals_never_stopping(make_settings, whole, tmp_path):
    out = tmp_path / "run"
    run = RunDirectory(out)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    # An error before anything is saved, then SIGTERM in the middle between two evaluations,
    # then Ctrl-C during an evaluation.
    with pytest.raises(RuntimeError, match="crash"):
        train(
            make_settings(),
            out,
            verbose=0,
            callbacks=[At(2, RuntimeError("crash"))],
            model_class=GPT2LM,
        )
    assert run.progress().step == 0
    with pytest.raises(Stopped, match="stopped by SIGTERM after step 6, which is saved"):
        resume(out, verbose=0, callbacks=[At(6, signal.SIGTERM)], model_class=GPT2LM)
    assert (run.progress().step, run.progress().evaluated) == (6, 4)
    assert GPT2LM.from_preset(out).config.hidden_dim == 16
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGINT after step 8"):
        resume(out, verbose=0, callbacks=[At(3, signal.SIGINT, testing=True)], model_class=GPT2LM)
    assert (run.progress().step, run.progress().evaluated) == (8, 4)
    resume(out, verbose=0, model_class=GPT2LM)
    assert_same_end(out, whole)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_averages_loss_scale_and_more_steps_survive_a_stop(make_settings, tmp_path):
    changes = {"dtype": "mixed_float16", "ema": 0.9, "schedule": "constant"}
    train(make_settings(**changes), tmp_path / "whole", verbose=0, model_class=GPT2LM)
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        train(
            make_settings(**changes, steps=5, checkpoint_every=3),
            out,
            verbose=0,
            callbacks=[At(4, signal.SIGTERM, testing=True)],
            model_class=GPT2LM,
        )
    kept = sorted(path.name for path in RunDirectory(out).checkpoints.iterdir())
    assert kept == ["step-00000003", "step-00000004"]
    best = resume(out, steps=10, verbose=0, model_class=GPT2LM)
    assert_same_end(out, tmp_path / "whole")
    assert json.loads((out / "settings.json").read_text())["steps"] == 10
    # What is evaluated and kept are the averages, what is trained are the weights.
    state = last_state(out)
    assert any(name.endswith("dynamic_scale") for name in state)
    trained = [name for name in state if name.startswith("model/") and "seed" not in name]
    averages = [name for name in state if name.endswith("average")]
    assert len(averages) == len(trained) == len(weights(best))
    for name, average, kept in zip(trained, averages, weights(best), strict=True):
        np.testing.assert_array_equal(state[average], kept)
        assert np.abs(state[name] - kept).max() > 1e-4


def test_a_nan_loss_is_not_saved_and_its_batches_can_be_skipped(
    make_settings, tmp_path, monkeypatch
):
    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.weights[0].assign(self.model.weights[0] * np.nan)

    out, first_batches = tmp_path / "run", []
    advice = r"in step 5\. The state after step 4 is the last good one.*--skip-batches 1,"
    with pytest.raises(ValueError, match=r"finite number\. Received: loss=nan " + advice):
        train(make_settings(steps=6), out, verbose=0, callbacks=[Poison()], model_class=GPT2LM)
    assert np.isfinite(weights(GPT2LM.from_preset(out))[0]).all()
    assert RunDirectory(out).progress().step == 4

    make_datasets = run_module.make_datasets

    def watched(settings, shards, model, first_batch, *others):
        first_batches.append(first_batch)
        return make_datasets(settings, shards, model, first_batch, *others)

    monkeypatch.setattr(run_module, "make_datasets", watched)
    resume(out, skip_batches=3, verbose=0, model_class=GPT2LM)
    progress = RunDirectory(out).progress()
    assert (first_batches, progress.step, progress.skipped) == ([7], 6, 3)
    assert all(np.isfinite(array).all() for array in last_state(out).values())


def test_a_weight_that_is_no_number_is_not_saved(make_settings, tmp_path):
    model = random_model()
    model.weights[0].assign(model.weights[0] * np.inf)
    run = RunDirectory(tmp_path / "run")
    recorder = Recorder(run, Progress(step=2), make_settings(), [4], StopSignals(), Strategy())
    recorder.set_model(model)
    recorder.on_epoch_begin(0)
    message = r"embeddings after step 4\. The state after step 2 is the last good one"
    with pytest.raises(ValueError, match=message):
        recorder.on_train_batch_end(1)
    assert not run.checkpoints.exists()


@pytest.mark.parametrize("name", ["state.npz", "progress.json"])
def test_a_truncated_checkpoint_gives_way_to_the_one_before(whole, tmp_path, monkeypatch, name):
    run = copy_of(whole, tmp_path)
    file = run.last_checkpoint().path / name
    file.write_bytes(file.read_bytes()[:-100])
    seen = stopped_before_training(monkeypatch)
    with pytest.warns(
        UserWarning, match=rf"step-00000010: {name} is damaged: .*from step-00000008, which"
    ):
        resume(run.path, verbose=0, model_class=GPT2LM)
    assert [checkpoint.step for checkpoint in seen] == [8]
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000008"]


def test_a_changed_byte_is_found(whole, tmp_path):
    run = copy_of(whole, tmp_path)
    file = run.last_checkpoint().path / "state.npz"
    contents = bytearray(file.read_bytes())
    contents[len(contents) // 2] ^= 1
    file.write_bytes(contents)
    assert "state.npz is damaged: wrong checksum of" in run.last_checkpoint().damage()


def test_without_a_whole_checkpoint_nothing_is_removed(whole, tmp_path):
    run = copy_of(whole, tmp_path)
    for path in run.checkpoints.iterdir():
        (path / "state.npz").unlink()
    message = r"none is whole\. Received: .*step-00000008: state.npz is missing\. .*--init"
    with pytest.raises(ValueError, match=message):
        resume(run.path, verbose=0, model_class=GPT2LM)
    assert len(list(run.checkpoints.iterdir())) == 2
    shutil.rmtree(run.model)
    with pytest.raises(ValueError, match=r"Start a new run instead\."):
        resume(run.path, verbose=0, model_class=GPT2LM)


def test_a_model_moved_aside_by_a_killed_process_is_put_back(whole, tmp_path):
    run = copy_of(whole, tmp_path)
    run.model.rename(run.path / ".model.0123abcd.old")
    (run.path / ".model.0123abcd.unfinished").mkdir()
    resume(run.path, verbose=0, model_class=GPT2LM)
    assert sorted(path.name for path in run.path.iterdir()) == sorted(
        path.name for path in whole.iterdir()
    )


def test_a_run_of_another_optimizer_is_refused(whole, tmp_path):
    run = copy_of(whole, tmp_path)
    shutil.rmtree(run.last_checkpoint().path)
    settings = json.loads(run.settings_file.read_text())
    run.settings_file.write_text(json.dumps({**settings, "ema": 0.9}))
    with pytest.raises(
        ValueError, match=r"the settings that it began with.*step-00000008 has: optimizer/"
    ):
        resume(run.path, verbose=0, model_class=GPT2LM)


def copy_of(whole, tmp_path):
    return RunDirectory(shutil.copytree(whole, tmp_path / "run"))


def stopped_before_training(monkeypatch):
    """Has `resume` return where it would begin to train; the list gets what progress it has."""
    seen = []
    monkeypatch.setattr(run_module, "_run", lambda *arguments: seen.append(arguments[4]))
    return seen
