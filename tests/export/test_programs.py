import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import text_model

PROGRAMS = Path(__file__).resolve().parents[2] / "export"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "out", "made", "runtime"),
    [
        ("to_saved_model.py", "serving", "serving/1", "tensorflow"),
        ("to_litert.py", "model.tflite", "model.tflite", "ai_edge_litert"),
        ("to_litertlm.py", "model.litertlm", "model.litertlm", "litert_lm"),
    ],
)
def test_a_program_writes_its_artifact_and_another_verifies_it(
    tmp_path, program, out, made, runtime
):
    if importlib.util.find_spec(runtime) is None:
        pytest.skip(f"needs {runtime}")
    text_model(num_layers=1).save_to_preset(tmp_path / "model")

    def run(*words):
        command = [sys.executable, *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    written = run(PROGRAMS / program, "model", out)
    assert (written.returncode, written.stdout) == (0, f"{made}\n"), written.stderr
    assert "perplexity difference" in run(PROGRAMS / "verify.py", made, "model").stdout
    text_model(num_layers=1, seed=1).save_to_preset(tmp_path / "other")
    failed = run(PROGRAMS / "verify.py", made, "other")
    assert failed.returncode == 1
    assert "The model's weights: found " in failed.stderr
