"""Runs whose process is killed at any moment."""

import subprocess
import sys
import time

import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.cli.main import main
from gpt2_keras.runs import RunDirectory, train
from tests.runs.runs import assert_same_end

PROGRAM = "import sys; from gpt2_keras.cli.main import main; sys.exit(main(sys.argv[1:]))"


def start(out, *arguments):
    command = [sys.executable, "-c", PROGRAM, "train", "--out", str(out), *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def unfinished(out):
    return {path.name for path in out.glob("checkpoints/.*.unfinished")}


def flags_of(settings):
    """The settings that `make_settings` sets, as flags."""
    values = {
        name: getattr(settings, name)
        for name in ("data", "tokenizer", "num_layers", "num_heads", "hidden_dim", "steps")
    }
    names = ("batch_size", "learning_rate", "evaluate_every", "evaluation_batches", "patience")
    values |= {name: getattr(settings, name) for name in names}
    values |= {"dropout": settings.dropout_rate, "context_length": settings.context_length}
    values |= {"checkpoint_every": settings.checkpoint_every or settings.steps}
    pairs = [("--" + name.replace("_", "-"), str(value)) for name, value in values.items()]
    return [word for pair in pairs for word in pair]


# A busy machine may take minutes to start a process; one that hangs takes longer.
LONGEST_SECONDS = 1800


def kill_while_saving(process, out, after_step=0, delay=0.0):
    """Kills a process `delay` seconds after it began to write a checkpoint.

    The checkpoint is the first one after that of `after_step`.
    """
    before = unfinished(out)
    run = RunDirectory(out)
    deadline = time.monotonic() + LONGEST_SECONDS
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"a run hung after step {run.progress().step}")
        if unfinished(out) - before and (not after_step or run.progress().step >= after_step):
            time.sleep(delay)
            process.kill()
        time.sleep(0.002)
    return process.wait()


def test_a_run_killed_while_it_saves_ends_like_one_never_killed(make_settings, whole, tmp_path):
    out = tmp_path / "run"
    process = start(out, *flags_of(make_settings(checkpoint_every=3)))
    assert kill_while_saving(process, out) == -9
    assert main(["train", "--out", str(out), "--resume"]) == 0
    assert_same_end(out, whole)
    assert not [path for path in out.rglob(".*") if path.is_dir()]


@pytest.mark.slow
def test_a_run_killed_many_times_at_random_ends_like_one_never_killed(make_settings, tmp_path):
    settings = make_settings(
        steps=80, checkpoint_every=2, evaluate_every=10, hidden_dim=64, patience=0
    )
    whole, out = tmp_path / "whole", tmp_path / "run"
    train(settings, whole, verbose=0, model_class=GPT2LM)
    random, kills = np.random.default_rng(0), 0
    process = start(out, *flags_of(settings))
    while True:
        after_step = RunDirectory(out).progress().step + int(random.integers(2, 25))
        # Saving takes some 20 ms: often the process is killed after it, not within it.
        status = kill_while_saving(process, out, after_step, random.uniform(0, 0.1))
        if status != -9:
            break
        kills += 1
        print(f"kill {kills} at step {RunDirectory(out).progress().step}")
        process = start(out, "--resume")
    assert status == 0
    assert kills >= 3
    assert_same_end(out, whole)
