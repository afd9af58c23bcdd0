"""The validation loss of nanoGPT's recipes for character-level Shakespeare.

Runs `examples/shakespeare_char.py` in full and writes the loss with the one published in
karpathy/nanoGPT's README. The CPU recipe takes about five minutes; the GPU recipe
(`--recipe gpu`) needs a GPU, or hours without one.
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
RESULTS = ROOT / "benchmarks" / "results"
PUBLISHED = {"cpu": 1.88, "gpu": 1.4697}
FILES = {"cpu": "shakespeare_char.json", "gpu": "shakespeare_char_gpu.json"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--recipe", choices=PUBLISHED, default="cpu")
    args = parser.parse_args()
    if not args.text.is_file():
        sys.exit(f"no {args.text}: name tinyshakespeare.txt of karpathy/char-rnn with --text")
    started = time.monotonic()
    command = [sys.executable, ROOT / "examples" / "shakespeare_char.py", args.text]
    command += ["--recipe", args.recipe]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    loss = float(re.findall(r"validation loss ([\d.]+)", output)[-1])
    result = {
        "validation_loss": loss,
        "published_by_nanogpt": PUBLISHED[args.recipe],
        "seconds": round(time.monotonic() - started),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / FILES[args.recipe]
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"validation loss {loss:.4f}, published {PUBLISHED[args.recipe]}")


if __name__ == "__main__":
    main()
