"""`kill -9` at random moments: what has its name is whole, and what was there stays."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras import GPT2LM, GPT2Tokenizer
from gpt2_keras.checkpoints import save_openai
from gpt2_keras.data import TokenShards
from tests.models import CORPUS, text_model, weights_of

NUM_KILLS = 20
# Each does its work again and again, under new names, or where it replaces under one.
PROGRAM = """
import itertools, sys
from pathlib import Path
from gpt2_keras import GPT2LM
from gpt2_keras.cli.main import main
from gpt2_keras.data import prepare

what, folder = sys.argv[1], Path(sys.argv[2])
model = GPT2LM.from_preset(folder / "model")
for index in itertools.count():
    out = folder / f"out-{index}"
    if index == 1:
        print("ready", flush=True)
    if what == "save":
        for variable in model.weights:
            variable.assign(variable * 0 + index)
        model.save_to_preset(folder / "out-0", overwrite=True)
    elif what == "prepare":
        prepare([folder / "text.txt"], model.tokenizer, out)
    elif what == "import":
        assert main(["import", str(folder / "openai"), "--out", str(out)]) == 0
    else:
        suffix = ".tflite" if what == "litert" else ""
        words = ["--model", str(folder / "model"), "--format", what, "--no-certificate"]
        assert main(["export", *words, "--out", f"{out}{suffix}"]) == 0
"""


def whole_model(path):
    values = [float(value.ravel()[0]) for value in weights_of(GPT2LM.from_preset(path)).values()]
    return len(values) == 16


def whole_save(path):
    arrays = weights_of(GPT2LM.from_preset(path)).values()
    (value,) = {float(number) for array in arrays for number in np.unique(array)}  # of one save
    return value == int(value)


def whole_shards(path):
    shards = TokenShards.open(path)
    shards.verify()
    return len(shards) > 0


def whole_saved_model(path):
    if not (path / "1").exists():  # the folder of versions, which has none yet
        return all(entry.name.startswith(".") for entry in path.iterdir())
    signature = tf.saved_model.load(str(path / "1")).signatures["tokenize"]
    return signature(text=tf.constant(["the cat"]))["num_tokens"].shape == (1,)


def whole_litert(path):
    interpreter = tf.lite.Interpreter(str(path))
    return "generate" in interpreter.get_signature_list()


WHOLE = {
    "save": whole_save,
    "prepare": whole_shards,
    "import": whole_model,
    "tf_saved_model": whole_saved_model,
    "litert": whole_litert,
    "openai": whole_model,
}


@pytest.fixture
def folder(tmp_path):
    model = text_model(num_layers=1)
    model.save_to_preset(tmp_path / "model")
    save_openai(model, tmp_path / "openai")
    (tmp_path / "text.txt").write_text(CORPUS[0] * 3000)
    return tmp_path


def outputs(folder):
    return sorted(path for path in folder.iterdir() if path.name.startswith("out-"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize("what", WHOLE)
def test_what_has_its_name_after_a_kill_is_whole(folder, what):
    seconds, seen = random.Random(what), 0  # noqa: S311 -- moments, no secrets
    for _ in range(NUM_KILLS):
        command = [sys.executable, "-c", PROGRAM, what, str(folder)]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        while (line := program.stdout.readline()) and line.strip() != b"ready":
            pass
        time.sleep(seconds.uniform(0.0, 0.3 if what in ("save", "prepare", "import") else 3.0))
        program.send_signal(signal.SIGKILL)
        program.wait()
        program.stdout.close()
        assert line.strip() == b"ready"
        for path in outputs(folder):
            assert WHOLE[what](path), path
            seen += 1
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert GPT2Tokenizer.from_directory(folder / "model").vocab_size > 0
        for path in Path(folder).glob(".out-*"):  # what a user may delete
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert seen >= NUM_KILLS
