"""Writes a model directory as a bundle for Google's LiteRT-LM: text in, text out.

    python export/to_litertlm.py run model.litertlm

The same as `gpt2-keras export --model run --format litertlm --out model.litertlm`.
"""

import sys

from gpt2_keras import GPT2LM

if __name__ == "__main__":
    model_directory, out = sys.argv[1:]
    print(GPT2LM.from_preset(model_directory).export(out, format="litertlm"))
