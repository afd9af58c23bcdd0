"""A vocabulary as a pipeline of Hugging Face's `tokenizers`, and as the files of their tools."""

import json
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from gpt2_keras.tokenizer.files import merges_text
from gpt2_keras.tokenizer.settings import WORDS_KEY
from gpt2_keras.tokenizer.vocabulary import Vocabulary


def byte_level_bpe(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """Returns the `tokenizers` pipeline of a vocabulary, without its special tokens."""
    bpe = tokenizers.Tokenizer(models.BPE(vocab=vocabulary.ids, merges=vocabulary.merges))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    bpe.decoder = decoders.ByteLevel()
    return bpe


def file_contents(
    vocabulary: Vocabulary, settings: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, str]:
    """Returns the text of each file of a saved tokenizer, by its name.

    Args:
        vocabulary: The vocabulary.
        settings: More of `tokenizer_config.json`, as `read_settings` reads it.
    """
    config: dict[str, Any] = {
        "bos_token": vocabulary.end_token,
        "unk_token": vocabulary.end_token,
        **{key: value for key, value in settings.items() if key != WORDS_KEY},
        "add_prefix_space": False,
        # Older transformers join words and punctuation again unless told not to.
        "clean_up_tokenization_spaces": False,
        "eos_token": vocabulary.end_token,
        "tokenizer_class": "GPT2Tokenizer",
    }
    by_id = {token: token_id for token_id, token in enumerate(vocabulary.tokens)}
    return {
        "vocab.json": json.dumps(by_id, ensure_ascii=False) + "\n",
        "merges.txt": merges_text(vocabulary.merges),
        "tokenizer.json": _tokenizer_json(vocabulary, settings.get(WORDS_KEY, ())),
        "tokenizer_config.json": json.dumps(config, indent=2, sort_keys=True) + "\n",
    }


def _tokenizer_json(vocabulary: Vocabulary, words: Collection[str]) -> str:
    """Returns the text of `tokenizer.json`, in which the added tokens are known."""
    bpe = byte_level_bpe(vocabulary)
    bpe.add_tokens(
        [
            tokenizers.AddedToken(token, normalized=False, special=token not in words)
            for token in vocabulary.special_tokens
        ]
    )
    return bpe.to_str(pretty=True) + "\n"
