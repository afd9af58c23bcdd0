"""Writes a model directory as a .tflite file with the tokenizer inside.

    python export/to_litert.py run model.tflite

The same as `gpt2-keras export --model run --format litert --out model.tflite`.
"""

import sys

from gpt2_keras import GPT2LM

if __name__ == "__main__":
    model_directory, out = sys.argv[1:]
    print(GPT2LM.from_preset(model_directory).export(out, format="litert"))
