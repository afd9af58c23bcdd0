"""Answers questions about a document, one after the other: `examples/answer.py MODEL`.

Each question is asked with the questions and answers before it.
"""

import sys

from gpt2_keras import GPT2LM
from gpt2_keras.applications import answer

DOCUMENT = (
    "The ship left Lisbon in May with forty people on board. In June it lost its mast in a storm, "
    "and the captain, Maria Soares, steered it to the Azores."
)
QUESTIONS = ["Who was the captain?", "Where did the ship leave from?", "What did it lose?"]


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    model = GPT2LM.from_preset(sys.argv[1])
    history: list[tuple[str, str]] = []
    for question in QUESTIONS:
        output = answer(model, question, document=DOCUMENT, history=history, max_new_tokens=16)
        print(f"Q: {question}\nA: {output}")
        if output.text:
            history.append((question, output.text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
