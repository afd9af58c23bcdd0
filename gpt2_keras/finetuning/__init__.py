"""Fine-tuning: trains a few weights of a trained model, or a few new ones, for a task.

enable_lora, merge_lora       add low-rank weights to some layers, and add them to the kernels
save_adapter, load_adapter    these weights alone, on disk
freeze, unfreeze              exclude blocks from training
add_special_tokens            a larger vocabulary, such as for the turns of a dialogue
GPT2Classifier                a classifier of texts
train_classifier              a run that trains one from a file, and `resume_classifier`

For all weights at once: `GPT2LM.from_preset(…)`, `compile()` and `fit()`, or `gpt2-keras
train --init DIR`.
"""

from gpt2_keras.finetuning.classifier import GPT2Classifier
from gpt2_keras.finetuning.classifier_run import resume_classifier, train_classifier
from gpt2_keras.finetuning.freezing import freeze, unfreeze
from gpt2_keras.finetuning.lora import enable_lora, load_adapter, merge_lora, save_adapter
from gpt2_keras.finetuning.vocabulary import add_special_tokens

__all__ = [
    "GPT2Classifier",
    "add_special_tokens",
    "enable_lora",
    "freeze",
    "load_adapter",
    "merge_lora",
    "resume_classifier",
    "save_adapter",
    "train_classifier",
    "unfreeze",
]
