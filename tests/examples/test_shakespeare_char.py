"""The example runs, on a short text and for a few steps."""

import re
import subprocess
import sys
from pathlib import Path

from tests.models import CORPUS

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "shakespeare_char.py"


def test_it_prints_a_validation_loss(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(CORPUS) * 2, encoding="utf-8")
    command = [sys.executable, str(EXAMPLE), str(text), "--steps", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loss = re.search(r"validation loss (\d\.\d{4}) nats a character", done.stdout)
    assert loss is not None
    assert float(loss.group(1)) < 3.0  # the log of its 21 characters is 3.04
