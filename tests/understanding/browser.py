"""The panels in a real browser; see `export/on_device/web/test/panels.mjs`."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "export" / "on_device" / "web"
NODE = shutil.which("node")

needs_browser = pytest.mark.skipif(
    NODE is None or not (WEB / "node_modules" / "puppeteer-core").is_dir(),
    reason="needs node, and a browser: `make test-web` brings one",
)


def use(address, *steps):
    """What the panels show to one who takes some steps: what is read, errors, requests, time."""
    program = [NODE, str(WEB / "test" / "panels.mjs"), str(address), json.dumps(steps)]
    result = subprocess.run(
        program, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)
