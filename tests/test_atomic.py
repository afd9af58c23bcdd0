import ctypes
import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from gpt2_keras import atomic
from gpt2_keras.atomic import check_output_file, check_room, new_directory, new_file, recover


def names(path):
    return sorted(entry.name for entry in path.iterdir())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_whatever_ends_the_work_early_leaves_nothing(tmp_path, error):
    def interrupted_directory():
        with new_directory(tmp_path / "out") as directory:
            (directory / "half").write_text("x")
            raise error

    def interrupted_file():
        with new_file(tmp_path / "out.txt") as file:
            file.write_text("half")
            raise error

    for interrupted in (interrupted_directory, interrupted_file):
        with pytest.raises(error):
            interrupted()
    assert names(tmp_path) == []


def test_an_empty_directory_may_be_filled(tmp_path):
    (tmp_path / "out").mkdir()
    with new_directory(tmp_path / "out") as directory:
        (directory / "a").touch()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["a"]


def test_a_replaced_directory_is_gone_only_after_the_new_one_is_complete(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with new_directory(tmp_path / "out", replace=True) as directory:
        (directory / "new").touch()
        assert names(tmp_path / "out") == ["old"]
    assert names(tmp_path / "out") == ["new"]
    assert names(tmp_path) == ["out"]


def test_a_file_that_exists_is_told_before_the_work(tmp_path):
    check_output_file(tmp_path / "new.html")
    (tmp_path / "mine").touch()
    message = (
        r"mine exists, and nothing is overwritten\. Name another path, or move it away first\.$"
    )
    with pytest.raises(FileExistsError, match=message):
        check_output_file(tmp_path / "mine")


def test_a_path_that_exists_is_an_error(tmp_path):
    (tmp_path / "mine").touch()
    with (
        pytest.raises(
            FileExistsError, match=r"is not empty \(it has 1 entries\), and nothing is overwritten"
        ),
        new_directory(tmp_path),
    ):
        pass
    with (
        pytest.raises(
            NotADirectoryError, match=r"mine is a file\. Name a new or empty directory\."
        ),
        new_directory(tmp_path / "mine"),
    ):
        pass
    assert names(tmp_path) == ["mine"]


def test_a_place_that_is_taken_meanwhile_is_left_alone(tmp_path):
    def overtaken():
        with new_directory(tmp_path / "out") as directory:
            (directory / "ours").touch()
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "theirs").touch()

    with pytest.raises(
        FileExistsError, match=r"is not empty \(it has 1 entries\), and nothing is overwritten"
    ):
        overtaken()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["theirs"]


def test_a_file_keeps_its_old_contents_until_the_new_ones_are_complete(tmp_path):
    (tmp_path / "a").write_text("old")
    with new_file(tmp_path / "a") as file:
        file.write_text("new")
        assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path) == ["a"]


def test_what_a_killed_process_left_is_cleared_up(tmp_path):
    (tmp_path / "replaced").mkdir()
    for name in (".replaced.0123abcd.old", ".moved.aside.0123abcd.old", ".new.0123abcd.unfinished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / ".a.txt.0123abcd.unfinished").touch()
    (tmp_path / ".hidden").touch()
    recover(tmp_path)
    assert names(tmp_path) == [".hidden", "moved.aside", "replaced"]
    assert names(tmp_path / "moved.aside") == ["file"]
    assert names(tmp_path / "replaced") == []


@pytest.mark.parametrize(("umask", "file_mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_are_those_of_the_umask(tmp_path, umask, file_mode):
    def write_privately(path):
        path.write_text("x")
        path.chmod(0o600)  # as safetensors does

    before = os.umask(umask)
    try:
        with new_directory(tmp_path / "out") as directory:
            (directory / "inner").mkdir(0o700)
            write_privately(directory / "inner" / "a.txt")
        with new_file(tmp_path / "b.txt") as file:
            write_privately(file)
    finally:
        os.umask(before)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.rglob("*")}
    folder_mode = 0o777 & ~umask
    assert modes == {
        "out": folder_mode,
        "inner": folder_mode,
        "a.txt": file_mode,
        "b.txt": file_mode,
    }


def test_contents_are_on_the_disk_before_they_get_their_names(tmp_path, monkeypatch):
    events = []
    flush, rename, replace = os.fsync, Path.rename, os.replace

    def flushed(descriptor):
        events.append(("flush", os.fstat(descriptor).st_ino))
        flush(descriptor)

    def renamed(path, target):
        events.append(("rename", path.stat().st_ino))
        return rename(path, target)

    def replaced(path, target):
        events.append(("rename", Path(path).stat().st_ino))
        replace(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(Path, "rename", renamed)
    with new_directory(tmp_path / "out") as directory:
        (directory / "a.txt").write_text("x")
    with new_file(tmp_path / "b.txt") as file:
        file.write_text("x")
    a, out, b, parent = (
        (tmp_path / name).stat().st_ino for name in ("out/a.txt", "out", "b.txt", ".")
    )
    flushes = [("flush", a), ("flush", out), ("rename", out), ("flush", parent)]
    assert events == [*flushes, ("flush", b), ("rename", b), ("flush", parent)]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system has no such call")
def test_room_is_checked_before_it_is_needed_and_leaves_nothing(tmp_path):
    check_room(tmp_path, 1000)
    with pytest.raises(OSError, match=r"No space left on device|File too large"):
        check_room(tmp_path, 2**62)
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs renameat2, which Linux has")
def test_two_directories_exchange_their_names_at_once(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    ctypes.set_errno(0)
    is_done = atomic._exchange(tmp_path / "one", tmp_path / "other")
    if ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        pytest.skip("needs a file system that exchanges names")
    assert is_done
    assert (tmp_path / "one" / "file").read_text() == "other"
    assert (tmp_path / "other" / "file").read_text() == "one"
