"""Continues token ids with a .tflite file. Needs ai-edge-litert and NumPy alone.

Usage: python ask_litert.py model.tflite NEW_TOKENS ID [ID ...]
"""

import json
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main() -> None:
    """Prints a JSON list of the likeliest next ids, one after the other."""
    path, count, *ids = sys.argv[1:]
    logits = Interpreter(model_path=path).get_signature_runner("logits")
    token_ids = [int(word) for word in ids]
    for _ in range(int(count)):
        answer = logits(token_ids=np.array([token_ids], np.int32))["logits"]
        token_ids.append(int(answer[0, -1].argmax()))
    print(json.dumps(token_ids[len(ids) :]))


if __name__ == "__main__":
    main()
