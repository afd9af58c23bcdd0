"""GPT-2 in Keras: trained with `fit()`, shipped as text in, text out.

The public names are loaded on first use, so that `import gpt2_keras` costs
nothing until a model is wanted:

    GPT2Config     the shape of a model, with the four published sizes
    GPT2LM         the model: train, generate, score, save, export
    GPT2Tokenizer  GPT-2's byte-level BPE on the host
"""

import importlib
from typing import TYPE_CHECKING, Any

from gpt2_keras.registration import register_with_keras
from gpt2_keras.version import __version__

if TYPE_CHECKING:
    from gpt2_keras.config import GPT2Config
    from gpt2_keras.lm import GPT2LM
    from gpt2_keras.tokenizer import GPT2Tokenizer

_HOMES = {
    "GPT2Config": "gpt2_keras.config",
    "GPT2LM": "gpt2_keras.lm",
    "GPT2Tokenizer": "gpt2_keras.tokenizer",
}

# A `.keras` file loads wherever this package is imported.
register_with_keras()

__all__ = ["GPT2LM", "GPT2Config", "GPT2Tokenizer", "__version__"]


def __getattr__(name: str) -> Any:
    """Loads a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gpt2_keras' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
