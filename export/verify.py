"""Proves again that an artifact equals the model it was exported from.

    python export/verify.py model.tflite run

The same as `gpt2-keras verify model.tflite --model run`.
"""

import sys

from gpt2_keras import GPT2LM
from gpt2_keras.export import verify

if __name__ == "__main__":
    artifact, model_directory = sys.argv[1:]
    print(verify(artifact, GPT2LM.from_preset(model_directory)).summary)
