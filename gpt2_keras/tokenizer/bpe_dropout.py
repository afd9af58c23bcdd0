"""BPE dropout: other splits of the same text into tokens, as augmentation."""

import itertools
import random

from tokenizers import pre_tokenizers

from gpt2_keras.tokenizer.byte_alphabet import CHARACTER_TO_BYTE
from gpt2_keras.tokenizer.encoding import without_surrogates
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

# A longer piece (a run of letters without a space) is cut: its time grows with the square.
LONGEST_PIECE = 1024


class BPEDropout:
    """Encodes text with merges left out at random.

    Before each merge of a piece, every pair that could be merged is left out
    with probability `rate`; of the others the earliest merge is done, at all
    places that are left. It ends when none is left. So a model sees rare words
    in many parts, and common ones in rare parts. The ids decode to the same
    text, whatever the draw.

    Source: Provilkov, Emelianenko and Voita, "BPE-Dropout: Simple and Effective
    Subword Regularization" (2020), algorithm 1; each occurrence of a pair is
    drawn for itself, as in rsennrich/subword-nmt `apply_bpe.py`.

    Args:
        tokenizer: Its merges are used.
        rate: Probability of leaving a merge out, 0 to 1. The paper uses 0.1. At
            0 the ids are those of the tokenizer, at 1 they are bytes.

    Raises:
        ValueError: If the rate is out of its range.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["low lower lowest"], vocab_size=300)
        >>> ids = BPEDropout(tokenizer, 0.5).encode("lower", random.Random(1))
        >>> tokenizer.decode(ids)
        'lower'
    """

    def __init__(self, tokenizer: GPT2Tokenizer, rate: float) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(
                "`rate` must be at least 0 and at most 1. "
                f"Received: rate={rate}. Use, for example, 0.1."
            )
        self._rate = rate
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
        self._pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def encode(self, text: str, source: random.Random) -> list[int]:
        """Returns token ids of a text.

        Args:
            text: Text.
            source: Of the draws. One that begins alike gives the same ids, on
                every machine.
        """
        pieces = self._pieces.pre_tokenize_str(without_surrogates(text))
        longest = LONGEST_PIECE if self._rate else max((len(p) for p, _ in pieces), default=1)
        parts = (
            piece[start : start + longest]
            for piece, _ in pieces
            for start in range(0, len(piece), longest)
        )
        return list(itertools.chain.from_iterable(self._encode_piece(p, source) for p in parts))

    def _encode_piece(self, piece: str, source: random.Random) -> list[int]:
        """Merges the bytes of a piece, written in the byte alphabet."""
        ids = [self._byte_ids[character] for character in piece]
        while len(ids) > 1:
            pairs = [
                (self._merges[pair], place)
                for place, pair in enumerate(itertools.pairwise(ids))
                if pair in self._merges and source.random() >= self._rate
            ]
            if not pairs:
                break
            merge, _ = min(pairs)
            ids = _merged(ids, [place for found, place in pairs if found == merge], merge[1])
        return ids


def _merged(ids: list[int], places: list[int], token_id: int) -> list[int]:
    """Puts a token in the place of each pair, the first ones first where they overlap."""
    merged: list[int] = []
    end = 0
    for place in places:
        if place >= end:
            merged += [*ids[end:place], token_id]
            end = place + 2
    return merged + ids[end:]
