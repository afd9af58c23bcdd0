"""The validation loss of nanoGPT's CPU recipe for Shakespeare's characters, here.

Runs `examples/shakespeare_char.py` in full (about five minutes) and keeps the loss
beside the one that karpathy/nanoGPT's README publishes.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = ROOT.parent / "shared" / "data" / "text" / "tinyshakespeare.txt"
RESULT = ROOT / "benchmarks" / "results" / "shakespeare_char.json"
PUBLISHED = 1.88


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, default=TEXT)
    args = parser.parse_args()
    if not args.text.is_file():
        sys.exit(f"no {args.text}: name tinyshakespeare.txt of karpathy/char-rnn with --text")
    started = time.monotonic()
    command = [sys.executable, ROOT / "examples" / "shakespeare_char.py", args.text]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    loss = float(re.findall(r"validation loss ([\d.]+)", output)[-1])
    result = {
        "validation_loss": loss,
        "published_by_nanogpt": PUBLISHED,
        "seconds": round(time.monotonic() - started),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"validation loss {loss:.4f}, published {PUBLISHED}")


if __name__ == "__main__":
    main()
