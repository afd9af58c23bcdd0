"""A `.keras` file loads in a process that has imported nothing but Keras and this package."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpt2_keras.finetuning import GPT2Classifier
from tests.models import random_ids, text_model

ROOT = Path(__file__).resolve().parents[1]
LOAD = "model = keras.models.load_model(sys.argv[1]); print(type(model).__name__)"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Files of a model that was trained, and of a classifier."""
    folder = tmp_path_factory.mktemp("saved")
    model = text_model()
    model.compile(accumulation_steps=2)
    ids = random_ids((2, 8), model.config)
    model.fit(ids, np.roll(ids, -1, axis=1), verbose=0)
    model.save(folder / "GPT2LM.keras")
    GPT2Classifier(model, ["no", "yes"]).save(folder / "GPT2Classifier.keras")
    return folder


@pytest.mark.parametrize("name", ["GPT2LM", "GPT2Classifier"])
@pytest.mark.parametrize(
    "imports",
    ["gpt2_keras, keras", "keras, gpt2_keras", "gpt2_keras.model, keras"],
)
def test_a_keras_file_loads_where_only_the_package_is_imported(saved, name, imports):
    code = f"import sys, {imports}; {LOAD}; {OPTIMIZER if name == 'GPT2LM' else 'pass'}"
    result = subprocess.run(
        [sys.executable, "-c", code, saved / f"{name}.keras"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split()[0] == name


OPTIMIZER = (
    "assert model.step_options.accumulation_steps == 2; assert int(model.optimizer.iterations) == 1"
)


def test_keras_is_not_imported_by_the_package_itself():
    code = "import sys, gpt2_keras; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_package_can_be_imported_where_keras_must_not_be():
    code = "import sys; sys.modules['keras'] = None; import gpt2_keras.litert_conversion"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_tensorflow_that_cannot_be_imported_does_not_matter_on_jax(tmp_path):
    pytest.importorskip("jax")
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no GPU library')")
    code = "import gpt2_keras; from gpt2_keras import GPT2LM; print(GPT2LM.__name__)"
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(ROOT)])
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "GPT2LM\n"), result.stderr[-2000:]
