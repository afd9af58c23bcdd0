"""Two processes on one run directory: one of them trains."""

import os
import platform
import re
import shutil
import subprocess
import sys

import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.runs import RunDirectory, lock, resume, train
from gpt2_keras.runs.lock import run_lock
from tests.runs.runs import At, assert_same_end

# Another process, which must see the lock of this one.
ENTER = """
import sys
from pathlib import Path
from gpt2_keras.runs import lock
from gpt2_keras.runs.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("entered", flush=True)
    sys.stdin.read()
"""


def start(path):
    command = [sys.executable, "-c", ENTER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes)


def test_the_lock_is_seen_by_another_process_and_ends_with_its_holder(tmp_path):
    holder = start(tmp_path)
    assert holder.stdout.readline() == "entered\n"
    message = f"{tmp_path} is being trained by process {holder.pid} on "
    for _ in range(2):
        with pytest.raises(RuntimeError, match=re.escape(message)), run_lock(tmp_path):
            pytest.fail("two are inside")
    holder.kill()
    holder.communicate()
    with run_lock(tmp_path):
        other = start(tmp_path)
        _, error = other.communicate("")
    assert error.strip().endswith(
        f"is being trained by process {os.getpid()} on {platform.node()}. A run has one process: "
        "wait until it ends, or stop it and resume."
    )
    assert other.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_lock_on_a_file_that_its_holder_removes_is_no_lock(tmp_path, monkeypatch):
    first = run_lock(tmp_path)
    first.__enter__()

    def lock_after_removal(file, directory):
        monkeypatch.undo()
        first.__exit__(None, None, None)  # between the opening of the file and its lock
        lock._lock(file, directory)

    monkeypatch.setattr(lock, "_lock", lock_after_removal)
    with run_lock(tmp_path):
        other = start(tmp_path)
        assert "is being trained by process" in other.communicate("")[1]


def test_a_folder_without_the_right_to_write_is_not_locked(tmp_path):
    (tmp_path / ".lock").mkdir()  # a file that nobody can open, whatever their rights
    with run_lock(tmp_path), run_lock(tmp_path):
        pass


def test_a_run_that_trains_cannot_be_resumed(make_settings, whole, tmp_path):
    class Intruder(At):
        """Resumes the run in the midst of its training."""

        def _count(self):
            self.left -= 1
            if self.left == 0:
                with pytest.raises(RuntimeError, match="is being trained by process"):
                    resume(out, verbose=0, model_class=GPT2LM)

    out = tmp_path / "run"
    intruder = Intruder(6, None)
    train(make_settings(), out, verbose=0, model_class=GPT2LM, callbacks=[intruder])
    assert intruder.left < 0
    assert_same_end(out, whole)


def test_a_run_that_is_resumed_cannot_be_resumed_again(make_settings, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(RuntimeError, match="here"):
        train(
            make_settings(checkpoint_every=2),
            out,
            verbose=0,
            model_class=GPT2LM,
            callbacks=[At(3, RuntimeError("here"))],
        )
    with run_lock(out):
        before = sorted(out.rglob("*"))
        with pytest.raises(RuntimeError, match="is being trained by process"):
            resume(out, verbose=0, model_class=GPT2LM)
        assert sorted(out.rglob("*")) == before
    resume(out, verbose=0, model_class=GPT2LM)
    assert RunDirectory(out).progress().step == 10


def test_a_copy_of_a_run_is_another_run(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    with run_lock(whole):
        resume(tmp_path / "copy", verbose=0, model_class=GPT2LM)
