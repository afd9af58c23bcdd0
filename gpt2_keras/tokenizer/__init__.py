"""GPT-2's byte-level BPE: on the host, and inside a TensorFlow graph.

GPT2Tokenizer      encodes, decodes, trains and saves; needs no TensorFlow
GraphTokenizer     the same ids by integer operations of a TensorFlow graph
TokenizerLayer     text to ids as a Keras layer
DetokenizerLayer   ids to text as a Keras layer

The last three are loaded on first use, TensorFlow with them.
"""

import importlib
from typing import Any

from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

_HOMES = {
    "DetokenizerLayer": "gpt2_keras.tokenizer.graph.layers",
    "GraphTokenizer": "gpt2_keras.tokenizer.graph.tokenizer",
    "TokenizerLayer": "gpt2_keras.tokenizer.graph.layers",
}

__all__ = ["GPT2Tokenizer"]


def __getattr__(name: str) -> Any:
    """Loads a public name that needs TensorFlow from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gpt2_keras.tokenizer' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_HOMES])
