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
    interpreter = Interpreter(model_path=path)
    answers = [continue_text(interpreter, text, int(count)) for text in texts]
    print(json.dumps(answers, ensure_ascii=False))


def continue_text(interpreter: Interpreter, text: str, count: int) -> str:
    """Adds the likeliest next token, again and again; `text` must not be empty."""
    tokenize = interpreter.get_signature_runner("tokenize")
    logits = interpreter.get_signature_runner("logits")
    detokenize = interpreter.get_signature_runner("detokenize")
    ids = tokenize(text=np.frombuffer(text.encode(), np.uint8))["token_ids"]
    for _ in range(count):
        answer = logits(token_ids=ids[np.newaxis])["logits"]  # (1, time, vocab)
        ids = np.append(ids, answer[0, -1].argmax().astype(np.int32))
    return detokenize(token_ids=ids)["text"].tobytes().decode()


if __name__ == "__main__":
    main()
