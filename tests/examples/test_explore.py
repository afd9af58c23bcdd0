"""The notebook on looking inside runs from its first cell to its last."""

import subprocess
import sys
from pathlib import Path

from tests.models import text_model

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "explore.py"


def test_every_cell_runs(tmp_path):
    text_model(context_length=128).save_to_preset(tmp_path / "model")
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    printed = done.stdout
    assert "'<|endoftext|>'" in printed
    assert "sum of all contributions" in printed
    assert "a column per token" in printed
    assert "blocks.0.attn.hook_pattern" in printed
    assert "without feed-forward networks: If an exception" in printed
    logit, total = printed.split("difference of logits ")[1].split("\n")[0].split(
        ", sum of all contributions "
    )  # fmt: skip
    assert abs(float(logit) - float(total)) <= 2e-4
