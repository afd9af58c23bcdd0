"""Checkpoints of other systems. The only folder with their names, such as `c_attn` and `wte`.

load              the model of a checkpoint of any system, on disk or published
save              a model directory, which is Hugging Face's layout
save_openai       a TensorFlow checkpoint for the code of openai/gpt-2
save_keras_hub    a preset of KerasHub
save_gguf         a GGUF file for llama.cpp
from_keras_hub, to_keras_hub    models of KerasHub in memory
save_classifier, load_classifier, save_adapter, read_adapter, fill_adapter    for finetuning/

Read `tensors.py` first, then `formats.py`.
"""

from gpt2_keras.checkpoints.adapter_directory import fill_adapter, read_adapter, save_adapter
from gpt2_keras.checkpoints.classifier_directory import (
    is_classifier,
    load_classifier,
    save_classifier,
)
from gpt2_keras.checkpoints.gguf_file import save as save_gguf
from gpt2_keras.checkpoints.kerashub import from_keras_hub, to_keras_hub
from gpt2_keras.checkpoints.kerashub import save as save_keras_hub
from gpt2_keras.checkpoints.loading import directory_of, load
from gpt2_keras.checkpoints.model_directory import save
from gpt2_keras.checkpoints.openai import save as save_openai

__all__ = [
    "directory_of",
    "fill_adapter",
    "from_keras_hub",
    "is_classifier",
    "load",
    "load_classifier",
    "read_adapter",
    "save",
    "save_adapter",
    "save_classifier",
    "save_gguf",
    "save_keras_hub",
    "save_openai",
    "to_keras_hub",
]
