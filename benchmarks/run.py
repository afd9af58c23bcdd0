"""Runs every benchmark, one after the other: `make bench`, or `make bench ONLY=tokenizer`.

Each is a program of this folder that measures gpt2_keras and its peers side by side in
one run, prints a table of ratios and writes `results/NAME.json`.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    names = sys.argv[1:] or sorted(
        path.stem for path in HERE.glob("[!_]*.py") if path.name != Path(__file__).name
    )
    failed = []
    for number, name in enumerate(names, start=1):
        print(f"== {number}/{len(names)}  {name}", flush=True)
        if subprocess.run([sys.executable, HERE / f"{name}.py"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
