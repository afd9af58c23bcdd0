"""Peak memory of loading: each tensor is read once, and one at a time."""

import subprocess
import sys

import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.checkpoints import save_openai
from tests.checkpoints.writers import write_tf_h5, write_torch
from tests.models import random_model, weights_of

# 52 million weights; the largest tensor has a twelfth of them.
CONFIG = GPT2Config(vocab_size=8192, context_length=512, num_layers=15, num_heads=8, hidden_dim=512)
MEASURE = """
import sys
from pathlib import Path
import h5py, keras, tensorflow as tf
import gpt2_keras.checkpoints
from gpt2_keras import GPT2LM

def memory(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

keras.ops.zeros(1)
before = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # resets the peak
model = GPT2LM.from_preset(sys.argv[1])
print(memory("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("form", ["safetensors", "bin", "legacy bin", "h5", "openai"])
def test_the_peak_of_loading_is_near_the_size_of_the_model(tmp_path, form):
    model, directory = random_model(CONFIG), tmp_path / "model"
    if form == "openai":
        save_openai(model, directory)
    else:
        model.save_to_preset(directory)
    if "bin" in form:
        path = directory / "pytorch_model.bin"
        write_torch(path, weights_of(model), legacy=form == "legacy bin")
    elif form == "h5":
        write_tf_h5(directory / "tf_model.h5", model)
    if form in ("bin", "legacy bin", "h5"):
        (directory / "model.safetensors").unlink()
    command = [sys.executable, "-c", MEASURE, str(directory)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    ratio = int(done.stdout) / (4 * CONFIG.num_parameters)
    assert 0.9 < ratio < 1.35  # a second copy would make it 2
