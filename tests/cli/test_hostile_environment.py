"""The program in environments that are not ours: locales, pipes, full and read-only disks."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpt2_keras import GPT2Tokenizer
from gpt2_keras.checkpoints import save_openai
from gpt2_keras.data import prepare
from tests.models import CORPUS, text_model

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = f"{sys.executable} -P -m gpt2_keras.cli.main"
PROMPT = "thé cat €"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="the commands are those of a shell")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A `model`, the same as OpenAI's files, a text and its shards."""
    path = tmp_path_factory.mktemp("environment")
    model = text_model(num_layers=1, context_length=64)
    model.save_to_preset(path / "model")
    save_openai(model, path / "openai")
    (path / "text.txt").write_text("".join(CORPUS) * 50, encoding="utf-8")
    prepare([path / "text.txt"], GPT2Tokenizer.from_directory(path / "model"), path / "shards")
    return path


@pytest.fixture(scope="module")
def shell(folder):
    """Runs a line of a shell in the folder; a variable that is None is unset."""

    def run(line, **environment):
        merged = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        return subprocess.run(
            ["bash", "-c", line.replace("gpt2-keras", PROGRAM)],
            cwd=folder,
            env={name: value for name, value in merged.items() if value is not None},
            capture_output=True,
            timeout=600,
            check=False,
        )

    return run


GENERATE = f"gpt2-keras generate --model model --max-new-tokens 5 '{PROMPT}'"
ENVIRONMENTS = {
    "no home": {"HOME": None, "USER": None, "LOGNAME": None, "XDG_CACHE_HOME": None},
    "a home that is no folder": {"HOME": "/dev/null", "XDG_CACHE_HOME": None},
    "LANG=C": {"LANG": "C", "LC_ALL": "C"},
    "without UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII output": {"PYTHONIOENCODING": "ascii"},
    "without assertions": {"PYTHONOPTIMIZE": "1"},
    "without docstrings": {"PYTHONOPTIMIZE": "2"},
    "warnings are errors": {"PYTHONWARNINGS": "error::UserWarning"},
    "no temporary folder": {"TMPDIR": "/nonexistent"},
}


@pytest.fixture(scope="module")
def usual(shell):
    """What the program prints as the tests run it."""
    return shell(GENERATE).stdout.decode()


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_text_is_the_same_in_every_environment(name, shell, usual):
    found = shell(GENERATE, **ENVIRONMENTS[name])
    assert found.returncode == 0, found.stderr.decode()
    if name in ("without UTF-8", "ASCII output"):
        encoded = usual.encode("ascii", "backslashreplace")
    else:
        encoded = usual.encode()
    assert found.stdout == encoded
    assert b"Traceback" not in found.stderr


@pytest.mark.slow
def test_help_needs_no_docstrings(shell):
    found = shell("gpt2-keras generate --help", PYTHONOPTIMIZE="2")
    assert (found.returncode, found.stderr) == (0, b"")
    assert b"--max-new-tokens" in found.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"{GENERATE} --num-return-sequences 3 --temperature 1 | head -c 1", None),
        (f"{GENERATE} --json | head -c 1", None),
        ("gpt2-keras train --help | head -1", None),
        (f"{GENERATE} >&-", 0),
        (f"{GENERATE} > /dev/full", 1),
    ],
)
def test_an_output_that_cannot_be_written_is_no_traceback(line, status, shell):
    found = shell(line + '; echo "${PIPESTATUS[0]}" >&2')
    *messages, code = found.stderr.decode().splitlines()
    # A reader that closes its end early has read all or not: both are right.
    assert int(code) in ((0, 1) if status is None else (status,)), found.stderr
    assert "Traceback" not in found.stderr.decode()
    if status == 1:
        assert messages[-1].startswith("gpt2-keras generate: error: [Errno 28] No space left")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        (r"printf 'a\0b\n'", b"a\0b"),
        (r"printf 'a\377b\n'", b"a\xef\xbf\xbdb"),
        (r"printf 'one\r\ntwo'", b"one"),
        ("head -c 1000000 /dev/zero | tr '\\0' 'a'", None),
    ],
)
def test_prompts_of_any_bytes_from_a_pipe(prompts, expected, shell):
    flags = "--model model --max-new-tokens 2 --interactive"
    found = shell(f"{prompts} | gpt2-keras generate {flags}")
    assert b"Traceback" not in found.stderr
    if expected is None:  # far longer than the context
        assert found.returncode == 1
        assert b"error: prompts[0] has 1000000 tokens" in found.stderr
    else:
        assert found.returncode == 0, found.stderr
        assert found.stdout.startswith(expected)


SMALL_RUN = "--num-layers 1 --num-heads 1 --hidden-dim 16 --context-length 16 --steps 4"
COMMANDS = {
    "tokenizer": "tokenizer text.txt --vocab-size 300 --out",
    "prepare": "prepare text.txt --tokenizer model --out",
    "train": f"train --data shards --tokenizer model {SMALL_RUN} --batch-size 2 --out",
    "import": "import openai --out",
    "tf_saved_model": "export --model model --format tf_saved_model --out",
    "litert": "export --model model --format litert --out",
    "litertlm": "export --model model --format litertlm --out",
    "openai": "export --model model --format openai --out",
    "huggingface": "export --model model --format huggingface --out",
    "keras_hub": "export --model model --format keras_hub --out",
    "gguf": "export --model model --format gguf --out",
}


@functools.cache
def own_disks():
    """Whether this user may mount a disk of their own."""
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def on_disk(shell, options, before, name):
    """Runs a command on a disk of its own; returns what it told and the files left."""
    if not own_disks():
        pytest.skip("this user may not mount a disk (unshare -rm)")
    mount = f"D=$(mktemp -d); mount -t tmpfs -o {options} none $D; echo mine > $D/mine; {before}"
    return failed(shell, f"{mount}gpt2-keras {command(name)}; echo $?; {LIST}", "unshare -rm", name)


LIST = "cd $D; cat mine; find . -type f | sort"


def command(name):
    """Returns a command that writes to the directory $D."""
    suffix = {"litert": ".tflite", "litertlm": ".litertlm", "gguf": ".gguf"}.get(name, "")
    return f"{COMMANDS[name]} $D/out{suffix}"


def failed(shell, script, within, name):
    """Runs a script whose command fails; returns what it told and the files left."""
    if name == "gguf":
        pytest.importorskip("gguf")
    found = shell(f"{within} bash -c '{script}'")
    lines = found.stdout.decode().splitlines()
    at = lines.index("mine")
    assert lines[at - 1] == "1", found.stderr
    return found.stderr.decode(), lines[at + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_told_and_nothing_is_half_written(name, shell):
    size = {"tokenizer": "8k", "litert": "96k"}.get(name, "32k")
    error, files = on_disk(shell, f"size={size}", "", name)
    assert "Traceback" not in error
    assert "No space left" in error
    assert "./mine" in files
    if name == "train":  # what it needs to be resumed once there is room
        assert all(
            file.startswith(("./mine", "./out/settings.json", "./out/logs")) for file in files
        )
    else:
        assert files == ["./mine"]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_read_only_disk_is_told(name, shell):
    error, files = on_disk(shell, "size=8m", "mount -o remount,ro $D; ", name)
    assert "Traceback" not in error
    assert "Read-only file system" in error
    assert files == ["./mine"]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_of_another_user_is_told(name, shell):
    if os.geteuid() != 0 or not own_disks():
        pytest.skip("only root gives folders to another user")
    give = "D=$(mktemp -d); echo mine > $D/mine; chown -R 12345 $D; chmod 755 $D; export D; "
    # Root of a user namespace has no power over the files of users outside.
    within = f"unshare -r gpt2-keras {command(name)}; echo $?; {LIST}"
    error, files = failed(shell, give + within, "", name)
    assert "Traceback" not in error
    assert "Permission denied" in error
    assert files == ["./mine"]
