"""GPT-2's tokenizer as published, one merge at a time: the oracle of the exactness tests."""

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import regex
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

# `self.pat` of openai/gpt-2 src/encoder.py.
PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
END_OF_TEXT = "<|endoftext|>"


class ReferenceTokenizer:
    """Splits by the published pattern and merges by rank, as a textbook has it.

    Bytes that are not UTF-8 go through as lone surrogates (PEP 383): characters
    that are neither letters nor numbers nor white space.
    """

    def __init__(self, tokens: Sequence[bytes], merges: Sequence[tuple[int, int]]) -> None:
        self.ids = {token: token_id for token_id, token in enumerate(tokens)}
        self.ranks = {
            (tokens[left], tokens[right]): rank for rank, (left, right) in enumerate(merges)
        }
        self._encode_pre_token = functools.lru_cache(1 << 18)(self.merge)

    def encode(self, data: bytes) -> list[int]:
        pre_tokens = regex.findall(PATTERN, data.decode("utf-8", "surrogateescape"))
        return [
            token
            for pre_token in pre_tokens
            for token in self._encode_pre_token(pre_token.encode("utf-8", "surrogateescape"))
        ]

    def merge(self, pre_token: bytes) -> list[int]:
        parts = [pre_token[i : i + 1] for i in range(len(pre_token))]
        while True:
            pairs = {pair for pair in itertools.pairwise(parts) if pair in self.ranks}
            if not pairs:
                return [self.ids[part] for part in parts]
            best = min(pairs, key=self.ranks.__getitem__)
            merged, i = [], 0
            while i < len(parts):
                if tuple(parts[i : i + 2]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            parts = merged


def read_gpt2(
    folder: Path,
) -> tuple[list[bytes], list[tuple[int, int]], Mapping[str, int]]:
    """Returns the tokens, the merges and the special tokens of OpenAI's files."""
    ids = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    lines = (folder / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
    merges = [tuple(ids[part] for part in line.split()) for line in lines]
    ranks = _ranks(folder)
    tokens = [END_OF_TEXT.encode()] * len(ids)
    for token, token_id in ranks.items():
        tokens[token_id] = token
    return tokens, merges, {END_OF_TEXT: ids[END_OF_TEXT]}


def tiktoken_gpt2(folder: Path) -> tiktoken.Encoding:
    """Returns tiktoken's `gpt2` made from local files."""
    return tiktoken.Encoding(
        "gpt2_local",
        pat_str=PATTERN,
        mergeable_ranks=_ranks(folder),
        special_tokens={END_OF_TEXT: 50256},
    )


def _ranks(folder: Path) -> dict[bytes, int]:
    return data_gym_to_mergeable_bpe_ranks(
        vocab_bpe_file=str(folder / "vocab.bpe"), encoder_json_file=str(folder / "encoder.json")
    )
