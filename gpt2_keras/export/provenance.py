"""What a model is made of, as fingerprints, and the versions of what made an artefact."""

import hashlib
import importlib.metadata
import json
import platform

from gpt2_keras.checkpoints import huggingface
from gpt2_keras.model import GPT2LM
from gpt2_keras.version import __version__

_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "litert-lm")


def fingerprints(model: GPT2LM) -> dict[str, str]:
    """Returns the SHA-256 of a model's `config`, `weights` and `tokenizer`.

    They depend on no file: a model is the same in every format it can be kept in. Of
    the config the dropout rate is left out, which an artefact knows nothing of.

    Example:
        >>> config = GPT2Config(vocab_size=9, context_length=4, num_layers=1, num_heads=1,
        ...                     hidden_dim=4)
        >>> sorted(fingerprints(GPT2LM(config)))
        ['config', 'weights']
    """
    shape = model.config.to_dict()
    del shape["dropout_rate"]
    made_of = {
        "config": hashlib.sha256(json.dumps(shape, sort_keys=True).encode()),
        "weights": hashlib.sha256(),
    }
    for name, stored in sorted(huggingface.stored_variables(model).items()):
        tensor = stored.read()
        made_of["weights"].update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        made_of["weights"].update(tensor.data)
    hashes = {name: each.hexdigest() for name, each in made_of.items()}
    if model.tokenizer is not None:
        hashes["tokenizer"] = model.tokenizer.fingerprint
    return hashes


def versions() -> dict[str, str | None]:
    """Returns the versions at work; None for what is not installed."""
    found: dict[str, str | None] = {"gpt2_keras": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found
