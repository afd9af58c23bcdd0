"""Data: text files → token shards on disk → batches for training.

read_texts          reads the texts of files, large or compressed, in chunks
prepare             turns files into token shards, as PreparationOptions describes
prepare_with_beam   does the same by an Apache Beam pipeline, on one machine or many
TokenShards         token shards, memory-mapped
make_dataset        makes batches of inputs and targets from tokens
read_examples, read_conversations, make_instruction_dataset
                    read prompts with completions, or conversations; make batches of them
conversation_prompt returns the prompt for a model trained on conversations

They are loaded on first use. Batches are `tf.data` datasets where TensorFlow is installed.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt2_keras.data.apache_beam.pipeline import prepare_with_beam
    from gpt2_keras.data.conversations import conversation_prompt, read_conversations
    from gpt2_keras.data.documents import read_texts
    from gpt2_keras.data.instructions import make_instruction_dataset, read_examples
    from gpt2_keras.data.options import PreparationOptions
    from gpt2_keras.data.preparation import prepare
    from gpt2_keras.data.shards import TokenShards
    from gpt2_keras.data.windows import make_dataset

# No module here has one of these names: once imported, it would hide the name.
_MODULES = {
    "PreparationOptions": "gpt2_keras.data.options",
    "TokenShards": "gpt2_keras.data.shards",
    "conversation_prompt": "gpt2_keras.data.conversations",
    "make_dataset": "gpt2_keras.data.windows",
    "make_instruction_dataset": "gpt2_keras.data.instructions",
    "prepare": "gpt2_keras.data.preparation",
    "prepare_with_beam": "gpt2_keras.data.apache_beam.pipeline",
    "read_conversations": "gpt2_keras.data.conversations",
    "read_examples": "gpt2_keras.data.instructions",
    "read_texts": "gpt2_keras.data.documents",
}

__all__ = [
    "PreparationOptions",
    "TokenShards",
    "conversation_prompt",
    "make_dataset",
    "make_instruction_dataset",
    "prepare",
    "prepare_with_beam",
    "read_conversations",
    "read_examples",
    "read_texts",
]


def __getattr__(name: str) -> Any:
    """Loads a public name from its module (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'gpt2_keras.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
