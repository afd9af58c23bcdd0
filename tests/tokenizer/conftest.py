"""GPT-2's tokenizer as published, in two versions that share no code with ours."""

import pytest
import tiktoken

from tests.tokenizer.reference_bpe import ReferenceTokenizer, read_gpt2, tiktoken_gpt2


@pytest.fixture(scope="session")
def reference(gpt2_files) -> ReferenceTokenizer:
    tokens, merges, _ = read_gpt2(gpt2_files)
    return ReferenceTokenizer(tokens[:50256], merges)


@pytest.fixture(scope="session")
def openai(gpt2_files) -> tiktoken.Encoding:
    return tiktoken_gpt2(gpt2_files)
