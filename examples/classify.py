"""Finds the mood of reviews, with and without calibration: `examples/classify.py MODEL`."""

import sys

from gpt2_keras import GPT2LM
from gpt2_keras.applications import classify

EXAMPLES = [("A joy from beginning to end.", "good"), ("I want my money back.", "bad")]
REVIEWS = ["It broke after a day.", "The best of this year.", "Dull, dull, dull."]
LABELS = ["good", "bad"]


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    model = GPT2LM.from_preset(sys.argv[1])
    for review in REVIEWS:
        for calibrate in (False, True):
            found = classify(
                model,
                review,
                LABELS,
                examples=EXAMPLES,
                calibrate=calibrate,
                text_name="Review",
                label_name="Mood",
            )
            shown = ", ".join(f"{name} {p:.2f}" for name, p in found.probabilities.items())
            print(f"{review:24} {'calibrated' if calibrate else 'as it is':10} {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
