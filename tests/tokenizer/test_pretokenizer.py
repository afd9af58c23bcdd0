"""Splitting texts by GPT-2's pattern, on the host."""

import numpy as np
from tokenizers import pre_tokenizers

from gpt2_keras.tokenizer.pretokenizer import PADDING, split_into_pre_tokens
from gpt2_keras.tokenizer.unicode_classes import character_classes


def test_characters_at_the_edges_of_every_class_are_split_as_by_the_tokenizers_library():
    edges = np.flatnonzero(np.diff(character_classes()))
    codes = [code for code in {*edges, *(edges + 1)} if not 0xD800 <= code < 0xE000]
    assert len(codes) > 2000
    # Pre-tokens and not ids: where nothing merges, ids are the same wherever one splits.
    text = "".join(f"a{chr(code)}1{chr(code)}!{chr(code)} {chr(code)}" for code in codes)
    raw, starts = split_into_pre_tokens([text])
    ends = [*starts[1:], len(raw) - PADDING]
    found = [raw[start:end].decode() for start, end in zip(starts, ends, strict=True)]
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert found == [text[start:end] for _, (start, end) in splitter.pre_tokenize_str(text)]
