"""Translates by example: `examples/translate.py MODEL [TEXT …]`.

The examples say what is translated to what, here English to French.
"""

import sys

from gpt2_keras import GPT2LM
from gpt2_keras.applications import translate

EXAMPLES = [
    ("Good morning.", "Bonjour."),
    ("Where is the station?", "Où est la gare ?"),
    ("I do not know.", "Je ne sais pas."),
]


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    model = GPT2LM.from_preset(sys.argv[1])
    texts = sys.argv[2:] or ["Good evening.", "Where is the museum?"]
    outputs = translate(model, texts, examples=EXAMPLES, max_new_tokens=24)
    for text, output in zip(texts, outputs, strict=True):
        print(f"{text} → {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
