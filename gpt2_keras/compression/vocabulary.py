"""A model with fewer tokens: those of some texts."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from gpt2_keras.compression.copies import check_source, copy_weights, uninitialized_copy
from gpt2_keras.data.given_texts import Text, encoded_documents
from gpt2_keras.generation_config import TOKEN_IDS, GenerationConfig
from gpt2_keras.model import GPT2Model


def trim_vocabulary(model: GPT2Model, texts: Text | Sequence[Text]) -> GPT2Model:
    """Returns a model with the tokens of texts, the bytes and the special tokens.

    The texts have the same tokens as before, of other ids; other texts have more, and each text
    has some. Their logits are those of the model.

    Args:
        model: A model with a tokenizer; it does not change.
        texts: A `str` is a text, a `Path` a UTF-8 file, as for `evaluation.evaluate`.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If the texts have no token, are not UTF-8, or the model has no tokenizer.
        FileNotFoundError: If a file does not exist.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["the cat, the dog"], vocab_size=259)
        >>> model = GPT2LM(GPT2Config(vocab_size=259, context_length=16, num_layers=1,
        ...                           num_heads=1, hidden_dim=4), tokenizer)
        >>> trim_vocabulary(model, "a dog").config.vocab_size
        257
    """
    check_source("model", model)
    tokenizer = model.require_tokenizer()
    found = set[int]().union(model.end_token_ids, *encoded_documents(tokenizer, texts))
    smaller_tokenizer, old_ids = tokenizer.trimmed(found)
    smaller = uninitialized_copy(model, vocab_size=len(old_ids))
    smaller.tokenizer = smaller_tokenizer
    smaller.generation_config = _renumbered(
        model.generation_config, {old: new for new, old in enumerate(old_ids)}
    )
    rows = np.array(old_ids, "int32")
    copy_weights(
        model.token_embedding, smaller.token_embedding, lambda table: ops.take(table, rows, axis=0)
    )
    copy_weights(model.position_embedding, smaller.position_embedding)
    copy_weights(model.decoder, smaller.decoder)
    return smaller


def _renumbered(config: GenerationConfig, ids: Mapping[int, int]) -> GenerationConfig:
    """Returns a generation config with new ids; a ban of a token left out is left out."""
    contents = dict(config.contents)
    if "suppress_tokens" in contents:
        banned = contents["suppress_tokens"] or []
        contents["suppress_tokens"] = [ids[each] for each in banned if each in ids]
    if "bad_words_ids" in contents:
        words = contents["bad_words_ids"] or []
        contents["bad_words_ids"] = [
            [ids[each] for each in word] for word in words if all(each in ids for each in word)
        ]
    return dataclasses.replace(
        config,
        contents=_with_new_ids(contents, ids),
        token_ids=_with_new_ids(dict(config.token_ids), ids),
    )


def _with_new_ids(contents: dict[str, Any], ids: Mapping[int, int]) -> dict[str, Any]:
    """Returns an object whose end and padding tokens have new ids."""
    for name in TOKEN_IDS:
        value = contents.get(name)
        if isinstance(value, list):
            contents[name] = [ids[each] for each in value if each in ids]
        elif value is not None:
            contents[name] = ids.get(value)
    return contents
