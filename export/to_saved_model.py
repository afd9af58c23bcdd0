"""Writes a model directory as a SavedModel: strings in, strings out.

    python export/to_saved_model.py run serving

The same as `gpt2-keras export --model run --format tf_saved_model --out serving`.
"""

import sys

from gpt2_keras import GPT2LM

if __name__ == "__main__":
    model_directory, out = sys.argv[1:]
    print(GPT2LM.from_preset(model_directory).export(out, format="tf_saved_model", version=1))
