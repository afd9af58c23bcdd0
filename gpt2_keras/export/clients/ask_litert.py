"""Asks a .tflite file to continue texts. Needs ai-edge-litert and NumPy alone.

Usage: python ask_litert.py model.tflite NEW_TOKENS TEXT [TEXT ...]
"""

import json
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main() -> None:
    """Prints a JSON list of the answers."""
    path, count, *texts = sys.argv[1:]
    generate = Interpreter(model_path=path).get_signature_runner("generate")
    answers = []
    for text in texts:
        answer = generate(
            text=np.frombuffer(text.encode(), np.uint8),
            max_new_tokens=np.array([count], np.int32),
            temperature=np.array([0], np.float32),  # the most likely token
            top_k=np.array([0], np.int32),
            seed=np.array([0], np.int32),
        )
        answers.append(answer["text"].tobytes().decode())
    print(json.dumps(answers, ensure_ascii=False))


if __name__ == "__main__":
    main()
