"""Runs that stop, and are resumed as if they had never stopped."""

import json
import shutil
import signal
import warnings

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.runs import RunDirectory, Stopped, resume, train
from gpt2_keras.runs import run as run_module
from gpt2_keras.runs.checkpoint_callback import CheckpointCallback
from gpt2_keras.runs.progress import Progress
from gpt2_keras.runs.signals import StopSignals
from gpt2_keras.runs.strategies import Strategy
from tests.models import random_model
from tests.runs.runs import At, assert_same_end, last_state, weights


def test_stopping_anywhere_and_resuming_equals_never_stopping(make_settings, whole, tmp_path):
    out = tmp_path / "run"
    run = RunDirectory(out)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    # An error before the first checkpoint, then SIGTERM between two evaluations, then Ctrl-C
    # during an evaluation.
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
    assert (run.progress().step, run.progress().evaluated_step) == (6, 4)
    assert GPT2LM.from_preset(out).config.hidden_dim == 16
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGINT after step 8"):
        resume(out, verbose=0, callbacks=[At(3, signal.SIGINT, testing=True)], model_class=GPT2LM)
    assert (run.progress().step, run.progress().evaluated_step) == (8, 4)
    resume(out, verbose=0, model_class=GPT2LM)
    assert_same_end(out, whole)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_ema_loss_scale_and_more_steps_survive_a_stop(make_settings, tmp_path):
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
    # The averages are evaluated and kept, the weights are trained.
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
    with pytest.raises(ValueError, match=r"loss=nan is not finite " + advice):
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


def test_a_weight_that_is_not_finite_is_not_saved(make_settings, tmp_path):
    model = random_model()
    model.weights[0].assign(model.weights[0] * np.inf)
    run = RunDirectory(tmp_path / "run")
    callback = checkpoint_callback(run, model, make_settings(), Progress(step=2))
    message = r"embeddings has values .* not finite after step 4\. The state after step 2 is the"
    with pytest.raises(ValueError, match=message):
        callback.on_train_batch_end(1)
    assert not run.checkpoints.exists()


def test_a_validation_loss_that_is_not_finite_is_not_recorded(make_settings, tmp_path):
    model = random_model()
    model.compile(jit_compile=False)
    run = RunDirectory(tmp_path / "run")
    callback = checkpoint_callback(run, model, make_settings(), Progress(step=3))
    callback.on_train_batch_end(0)
    message = r"val_loss=nan is not finite in step 4\. Remove the last checkpoint and resume"
    with pytest.raises(ValueError, match=message):
        callback.on_epoch_end(0, {"loss": 1.0, "val_loss": float("nan")})
    assert run.progress() == Progress(step=4)
    assert not run.model.exists()


def checkpoint_callback(run, model, settings, progress):
    """The callback in the first epoch, which ends with step 4."""
    callback = CheckpointCallback(run, progress, settings, [4], StopSignals(), Strategy())
    callback.set_model(model)
    callback.on_epoch_begin(0)
    return callback


class Batches(keras.callbacks.Callback):
    """Counts the batches of training."""

    count = 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1


@pytest.mark.parametrize("name", ["state.npz", "progress.json"])
def test_a_truncated_checkpoint_is_removed(whole, tmp_path, name):
    run = copy_of(whole, tmp_path)
    truncate(run.last_checkpoint().path / name)
    message = rf"step-00000010: {name} is damaged: .*from step-00000008, which is whole"
    with pytest.warns(UserWarning, match=message):
        assert run.last_whole_checkpoint().progress.step == 8
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000008"]


def test_a_run_is_resumed_from_the_checkpoint_before_a_damaged_one(whole, tmp_path):
    run = copy_of(whole, tmp_path)
    truncate(run.last_checkpoint().path / "state.npz")
    batches = Batches()
    with warnings.catch_warnings(action="ignore"):  # that of the test before
        resume(run.path, verbose=0, callbacks=[batches], model_class=GPT2LM)
    assert batches.count == 2  # steps 9 and 10
    assert_same_end(run.path, whole)


def test_a_changed_byte_is_found(whole, tmp_path):
    run = copy_of(whole, tmp_path)
    file = run.last_checkpoint().path / "state.npz"
    contents = bytearray(file.read_bytes())
    contents[len(contents) // 2] ^= 1
    file.write_bytes(contents)
    assert "state.npz is damaged: wrong checksum of" in run.last_checkpoint().damage()


def test_of_damaged_checkpoints_alone_none_is_removed(whole, tmp_path):
    run = copy_of(whole, tmp_path)
    for path in run.checkpoints.iterdir():
        (path / "state.npz").unlink()
    message = r"Every .* is damaged: step-00000008: state.npz is missing\. Start .*--init"
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


def test_a_checkpoint_of_another_optimizer_is_an_error(whole, tmp_path):
    run = copy_of(whole, tmp_path)
    shutil.rmtree(run.last_checkpoint().path)
    settings = json.loads(run.settings_file.read_text())
    run.settings_file.write_text(json.dumps({**settings, "ema": 0.9}))
    with pytest.raises(
        ValueError, match=r"other variables than .*step-00000008 has: optimizer/.*Put settings"
    ):
        resume(run.path, verbose=0, model_class=GPT2LM)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


def copy_of(whole, tmp_path):
    return RunDirectory(shutil.copytree(whole, tmp_path / "run"))
