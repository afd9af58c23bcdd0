"""Summarizes a text with a trained model: `examples/summarize.py MODEL [FILE]`.

Without a file it summarizes a page of the documentation that ships inside Python.
"""

import sys
from pathlib import Path

from gpt2_keras import GPT2LM
from gpt2_keras.applications import summarize


def main() -> int:
    if not 2 <= len(sys.argv) <= 3:
        print(__doc__, file=sys.stderr)
        return 2
    model = GPT2LM.from_preset(sys.argv[1])
    if len(sys.argv) == 3:
        text = Path(sys.argv[2]).read_text(encoding="utf-8")
    else:
        from pydoc_data.topics import topics

        text = topics["exceptions"]
    summary = summarize(model, text, seed=1)
    print(summary.text)
    print(f"\n{len(summary.cropped):,} characters did not fit into the context", file=sys.stderr)
    print(f"log-probability of what was generated: {summary.log_prob:.1f} nats", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
