"""The symbols of a byte-level BPE: its tokens, numbered in the order of merging.

A *symbol* is a byte (0 to 255) or 256 plus the rank of the merge that makes it,
so of two merges the one with the smaller symbol goes first. After these come
the special tokens, and last the separator. `token_ids` turns symbols into the
ids of the vocabulary, whatever their order there.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

NUM_BYTES = 256


@dataclasses.dataclass(frozen=True)
class Symbols:
    """The symbols of a vocabulary. `separator`, the last, merges with nothing.

    Args:
        token_ids: int32 `(symbols + 1,)`, the id of each symbol, -1 of the separator.
        token_bytes: The bytes of each id; of a special token its UTF-8 text.
        parts: int32 `(256 + merges, 2)`, by merge, its left and its right symbol;
            -1 of a byte, and of tokens that nothing makes.
        symbol_of_merge: int32 `(256 + merges,)`, by merge. Only where `is_ordered`
            is false does a merge make another symbol than its own number.
        is_ordered: True if every merge makes a new token of tokens made before,
            as in GPT-2. Then merges at different indices commute.
        joined: bool `(65536,)`, by the last byte of a left part times 256 and
            the first of a right one, whether any merge joins such parts. Where
            none does, a pre-token splits into two that merge independently.
    """

    token_ids: NDArray[np.int32]
    token_bytes: list[bytes]
    parts: NDArray[np.int32]
    symbol_of_merge: NDArray[np.int32]
    is_ordered: bool
    joined: NDArray[np.bool_]

    @property
    def separator(self) -> int:
        """The symbol that merges with nothing."""
        return len(self.token_ids) - 1

    def special_symbol(self, index: int) -> int:
        """The symbol of the special token listed at `index`."""
        return len(self.symbol_of_merge) + index


def build_symbols(
    tokens: Sequence[bytes],
    merges: Sequence[tuple[int, int]],
    special_tokens: Mapping[str, int],
) -> Symbols:
    """Numbers the tokens of a vocabulary.

    Args:
        tokens: The bytes of each id; of a special token its UTF-8 text.
        merges: Pairs of ids in the order of their rank.
        special_tokens: Ids of the special tokens, which no merge makes.

    Raises:
        ValueError: If a byte or the result of a merge has no id, or a merge
            has an id outside the vocabulary.

    Example:
        >>> symbols = build_symbols([bytes([i]) for i in range(256)] + [b"ab"], [(97, 98)], {})
        >>> symbols.parts[256].tolist(), symbols.separator
        ([97, 98], 257)
    """
    token_bytes = [bytes(token) for token in tokens]
    special_ids = set(special_tokens.values())
    id_of: dict[bytes, int] = {}
    for token_id, token in enumerate(token_bytes):
        if token_id not in special_ids:
            id_of.setdefault(token, token_id)
    pairs = _merges_as_bytes(token_bytes, merges)
    token_ids = [*_ids_of_symbols(id_of, pairs), *special_tokens.values(), -1]

    symbol_of = {bytes([value]): value for value in range(NUM_BYTES)}
    for symbol, (left, right) in enumerate(pairs, NUM_BYTES):
        symbol_of.setdefault(left + right, symbol)
    number = np.arange(NUM_BYTES + len(pairs), dtype=np.int32)
    parts = np.full((len(number), 2), -1, np.int32)
    symbol_of_merge = number.copy()
    for merge, (left, right) in enumerate(pairs, NUM_BYTES):
        parts[merge] = symbol_of.get(left, -1), symbol_of.get(right, -1)
        symbol_of_merge[merge] = symbol_of[left + right]
    merged, merged_parts = number[NUM_BYTES:], parts[NUM_BYTES:]
    is_ordered = bool(
        (symbol_of_merge == number).all()
        and (merged_parts >= 0).all()
        and (merged_parts < merged[:, None]).all()
    )
    return Symbols(
        token_ids=np.array(token_ids, np.int32),
        token_bytes=token_bytes,
        parts=parts,
        symbol_of_merge=symbol_of_merge,
        is_ordered=is_ordered,
        joined=_joined_bytes(pairs),
    )


def _merges_as_bytes(
    tokens: Sequence[bytes], merges: Sequence[tuple[int, int]]
) -> list[tuple[bytes, bytes]]:
    """Replaces the ids of the merges by their bytes."""
    pairs = []
    for rank, (left, right) in enumerate(merges):
        if not (0 <= left < len(tokens) and 0 <= right < len(tokens)):
            raise ValueError(
                f"merges[{rank}]={(left, right)} has an id outside the vocabulary of "
                f"{len(tokens)} tokens. Use the vocabulary and the merges of one tokenizer."
            )
        pairs.append((tokens[left], tokens[right]))
    return pairs


def _ids_of_symbols(id_of: Mapping[bytes, int], pairs: Sequence[tuple[bytes, bytes]]) -> list[int]:
    """Returns the id of each symbol: of the bytes, then of the results of the merges."""
    ids = []
    for value in range(NUM_BYTES):
        if bytes([value]) not in id_of:
            raise ValueError(
                f"tokens has none for the byte {value}. A byte-level vocabulary has a token for "
                "each of the 256 bytes. Add it to the vocabulary."
            )
        ids.append(id_of[bytes([value])])
    for rank, (left, right) in enumerate(pairs):
        if left + right not in id_of:
            raise ValueError(
                f"merges[{rank}] makes {left + right!r}, which has no id. "
                "Use the vocabulary and the merges of one tokenizer."
            )
        ids.append(id_of[left + right])
    return ids


def _joined_bytes(pairs: Sequence[tuple[bytes, bytes]]) -> NDArray[np.bool_]:
    """Returns which pairs of bytes meet in some merge, `(65536,)`."""
    joined = np.zeros(NUM_BYTES * NUM_BYTES, bool)
    for left, right in pairs:
        joined[left[-1] * NUM_BYTES + right[0]] = True
    return joined
