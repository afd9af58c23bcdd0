"""Asks a SavedModel to continue texts. Needs TensorFlow alone.

Usage: python ask_saved_model.py saved_model/1 TEXT [TEXT ...]
"""

import json
import sys

import tensorflow as tf


def main() -> None:
    """Prints a JSON list of the answers."""
    directory, *texts = sys.argv[1:]
    model = tf.saved_model.load(directory)
    answers = model.signatures["serving_default"](text=tf.constant(texts))
    print(json.dumps([text.decode() for text in answers["text"].numpy()], ensure_ascii=False))


if __name__ == "__main__":
    main()
