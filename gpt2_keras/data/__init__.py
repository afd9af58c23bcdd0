"""Text files → token shards on disk → batches for training.

read_texts          texts of files, many, large or compressed, in pieces
prepare             files to token shards; PreparationOptions say how
prepare_with_beam   the same by an Apache Beam pipeline, on one machine or many
TokenShards         token shards, memory-mapped
make_dataset        tokens to batches of inputs and targets
read_examples, read_conversations, make_instruction_dataset
                    prompts and completions, or conversations, to such batches
conversation_prompt what to ask a model with that was trained on conversations

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

# No module here is called as one of these names: once imported, it would hide the name.
_HOMES = {
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
    if name not in _HOMES:
        raise AttributeError(f"module 'gpt2_keras.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
