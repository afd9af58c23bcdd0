"""BPE dropout: other tokens for the same text, as augmentation."""

import itertools
import random

from tokenizers import pre_tokenizers

from gpt2_keras.tokenizer.byte_alphabet import CHARACTER_TO_BYTE
from gpt2_keras.tokenizer.encoding import without_surrogates
from gpt2_keras.tokenizer.special_tokens import special_token_pattern
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer
from gpt2_keras.validation import check_instance, check_probability

# Longer pre-tokens (runs of letters without a space) are split: time grows with the square.
MAX_PRE_TOKEN_LENGTH = 1024


class BPEDropout:
    """Encodes text with merges left out at random.

    Before each merge in a pre-token, every pair that could be merged is left
    out with probability `rate`; of the others the earliest merge is applied,
    wherever its pair remains. It ends when none remains. So a model sees rare
    words as many tokens, and common ones as rare tokens. The ids decode to the
    same text, whatever the random numbers.

    Source: Provilkov, Emelianenko and Voita, "BPE-Dropout: Simple and Effective
    Subword Regularization" (2020), algorithm 1; each occurrence of a pair is
    sampled by itself, as in rsennrich/subword-nmt `apply_bpe.py`.

    Args:
        tokenizer: The tokenizer with the merges.
        rate: Probability of leaving a merge out, 0 to 1. The paper uses 0.1. At
            0 the ids are those of the tokenizer, at 1 they are bytes.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the rate is no probability.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["low lower lowest"], vocab_size=300)
        >>> ids = BPEDropout(tokenizer, 0.5).encode("lower", random.Random(1))
        >>> tokenizer.decode(ids)
        'lower'
    """

    def __init__(self, tokenizer: GPT2Tokenizer, rate: float) -> None:
        check_instance("tokenizer", tokenizer, GPT2Tokenizer, "a GPT2Tokenizer")
        self._rate = check_probability("rate", rate)
        special = set(tokenizer.special_tokens.values())
        token_bytes = tokenizer.token_bytes
        ids = {raw: i for i, raw in enumerate(token_bytes) if i not in special}
        self._byte_ids = {
            character: ids[bytes([byte])] for character, byte in CHARACTER_TO_BYTE.items()
        }
        self._merges = {
            pair: (rank, ids[token_bytes[pair[0]] + token_bytes[pair[1]]])
            for rank, pair in enumerate(tokenizer.merges)
        }
        self._special_tokens = tokenizer.special_tokens
        self._allowed = tokenizer.allowed_special
        self._pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def encode(self, text: str, rng: random.Random) -> list[int]:
        """Returns token ids of a text; special tokens follow the tokenizer's policy.

        Args:
            text: Text.
            rng: Source of the random numbers. In the same state it gives the
                same ids, on every machine.
        """
        if not self._allowed:
            return self._encode_plain(text, rng)
        parts = special_token_pattern(self._allowed).split(text)
        ids = self._encode_plain(parts[0], rng)
        for name, following in zip(parts[1::2], parts[2::2], strict=True):
            ids += [self._special_tokens[name], *self._encode_plain(following, rng)]
        return ids

    def _encode_plain(self, text: str, rng: random.Random) -> list[int]:
        """Returns token ids of a text without special tokens."""
        pre_tokens = [p for p, _ in self._pre_tokenizer.pre_tokenize_str(without_surrogates(text))]
        limit = MAX_PRE_TOKEN_LENGTH if self._rate else max(map(len, pre_tokens), default=1)
        parts = (
            pre_token[start : start + limit]
            for pre_token in pre_tokens
            for start in range(0, len(pre_token), limit)
        )
        return list(itertools.chain.from_iterable(self._encode_pre_token(p, rng) for p in parts))

    def _encode_pre_token(self, pre_token: str, rng: random.Random) -> list[int]:
        """Merges the bytes of a pre-token, spelled in the byte alphabet."""
        ids = [self._byte_ids[character] for character in pre_token]
        while len(ids) > 1:
            pairs = [
                (self._merges[pair], index)
                for index, pair in enumerate(itertools.pairwise(ids))
                if pair in self._merges and rng.random() >= self._rate
            ]
            if not pairs:
                break
            merge, _ = min(pairs)
            ids = _merge_pairs(ids, [index for found, index in pairs if found == merge], merge[1])
        return ids


def _merge_pairs(ids: list[int], indices: list[int], token_id: int) -> list[int]:
    """Replaces the pair at each index by a token; of pairs that overlap, the first."""
    merged: list[int] = []
    end = 0
    for index in indices:
        if index >= end:
            merged += [*ids[end:index], token_id]
            end = index + 2
    return merged + ids[end:]
