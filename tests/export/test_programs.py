import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import text_model

PROGRAMS = Path(__file__).resolve().parents[2] / "export"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "out", "made"),
    [
        ("to_saved_model.py", "serving", "serving/1/saved_model.pb"),
        ("to_litert.py", "model.tflite", "model.tflite"),
    ],
)
def test_a_program_writes_its_artefact(tmp_path, program, out, made):
    text_model().save_to_preset(tmp_path / "model")
    command = [sys.executable, str(PROGRAMS / program), "model", out]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / made).is_file()
