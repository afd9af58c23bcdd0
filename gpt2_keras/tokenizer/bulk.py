"""Encoding a corpus: pre-tokens that occur again are looked up, many at once."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gpt2_keras.tokenizer.encoding import without_surrogates
from gpt2_keras.tokenizer.pretokenizer import BORDER, PADDING, split_into_pre_tokens
from gpt2_keras.tokenizer.special_tokens import special_token_pattern
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

# Pre-tokens kept, some 200 bytes each, and bytes of their ids; when there are more, the cache
# is cleared.
MAX_CACHED_PRE_TOKENS = 2**18
MAX_CACHED_BYTES = 2**24
# Longer pre-tokens hardly ever occur again.
MAX_CACHED_LENGTH = 64
# A pre-token up to this length makes, with its length, a key of 16 bytes of the hash table.
_KEY_BYTES = 15
_SLOT_BITS = 19
# Factors of a multiplicative hash: odd, with bits as at random (SplitMix64's).
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
# An entry: the index of its first id among all ids, and above these bits their number.
_INDEX_BITS = 32
_INDEX_MASK = (1 << _INDEX_BITS) - 1


class BulkEncoder:
    """Turns much text into token ids, ten times as fast as `GPT2Tokenizer.encode`.

    The ids are the same. NumPy splits texts by GPT-2's pattern, hundreds of
    kilobytes at a time; each pre-token is encoded once and then looked up.
    Memory is constant: some 100 MB when the cache is full.

    Args:
        tokenizer: Makes the ids.
        dtype: Integer type of the ids.
        between: Ids to put between two texts.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["low lower lowest"], vocab_size=300)
        >>> raw = BulkEncoder(tokenizer, np.dtype("<u2")).encode_texts(["slow  low\\nlow"])
        >>> np.frombuffer(raw, "<u2").tolist() == tokenizer.encode("slow  low\\nlow")
        True
    """

    def __init__(
        self, tokenizer: GPT2Tokenizer, dtype: np.dtype, between: Sequence[int] = ()
    ) -> None:
        allowed = tokenizer.allowed_special
        self._special = special_token_pattern(allowed) if allowed else None
        special_ids = {_border(name): [tokenizer.special_tokens[name]] for name in allowed}
        self._cache = PreTokenCache(
            lambda pre_token: tokenizer.encode_pre_token(pre_token.decode("utf-8")),
            dtype,
            {BORDER: list(between), **special_ids},
        )

    def encode_texts(self, texts: Sequence[str]) -> bytes:
        """Returns the token ids of texts, one after the other, as the bytes of an array.

        Args:
            texts: Some hundred thousand characters together: for fewer, the calls cost
                more than the work; for many more, the arrays leave the processor's cache.
        """
        borders = None
        if self._special is not None and any(map(self._special.search, texts)):
            texts, borders = self._split_at_special_tokens(texts)
        try:
            raw, starts = split_into_pre_tokens(texts)
        except UnicodeEncodeError:
            raw, starts = split_into_pre_tokens([without_surrogates(text) for text in texts])
        return self._cache.ids_of(raw, starts, borders)

    def _split_at_special_tokens(self, texts: Sequence[str]) -> tuple[list[str], list[bytes]]:
        """Returns the texts between special tokens, and for each border its pre-token."""
        assert self._special is not None  # noqa: S101 -- tells the type checker
        parts: list[str] = []
        borders: list[bytes] = []
        for text in texts:
            plain_and_special = self._special.split(text)
            borders += [BORDER] if parts else []
            borders += map(_border, plain_and_special[1::2])
            parts += plain_and_special[::2]
        return parts, borders


class PreTokenCache:
    """The ids of pre-tokens, computed where they are missing.

    A dict has every pre-token. A hash table of arrays, asked first, has most of
    the short ones: each has one slot there, and the first of a slot stays.

    Args:
        compute: Returns the ids of a pre-token.
        dtype: Integer type of the ids.
        fixed: Pre-tokens whose ids are given; they stay when the cache is cleared.
    """

    def __init__(
        self, compute: Callable[[bytes], list[int]], dtype: np.dtype, fixed: dict[bytes, list[int]]
    ) -> None:
        self._compute, self._dtype, self._fixed = compute, dtype, fixed
        self._keys = np.zeros((2**_SLOT_BITS, 2), "<u8")
        self._entries = np.zeros(2**_SLOT_BITS, np.int64)
        self._entry_of: dict[bytes, int] = {}
        self._ids = bytearray()
        self._clear()

    def __len__(self) -> int:
        return len(self._entry_of)

    def ids_of(
        self, raw: bytes, starts: NDArray[np.intp], borders: Sequence[bytes] | None = None
    ) -> bytes:
        """Returns the ids of pre-tokens, one after the other, as the bytes of an array.

        Args:
            raw: The pre-tokens in UTF-8, with `PADDING` bytes after the last.
            starts: The index of the first byte of each.
            borders: A fixed pre-token for each `BORDER`, where they differ.
        """
        if len(self._entry_of) > MAX_CACHED_PRE_TOKENS or len(self._ids) > MAX_CACHED_BYTES:
            self._clear()
        lengths = np.diff(starts, append=len(raw) - PADDING)
        keys = _keys_of(raw, starts, lengths)
        slots = _slots_of(keys)
        entries = self._entries.take(slots)
        found = self._keys.take(slots, axis=0)
        missing = np.flatnonzero((found[:, 0] != keys[:, 0]) | (found[:, 1] != keys[:, 1]))
        firsts, sizes = starts[missing], lengths[missing]
        spans = zip(firsts.tolist(), (firsts + sizes).tolist(), strict=True)
        entries[missing] = self._look_up([raw[start:end] for start, end in spans])
        # Only into slots that are free; of several pre-tokens for one slot the last stays.
        free = missing[(self._entries.take(slots[missing]) == 0) & (sizes <= _KEY_BYTES)]
        self._keys[slots[free]] = keys[free]
        self._entries[slots[free]] = entries[free]
        if borders is not None:
            is_border = np.frombuffer(raw, np.uint8)[starts] == BORDER[0]
            entries[is_border] = [self._entry_of[border] for border in borders]
        return self._gather(entries)

    def _look_up(self, pre_tokens: list[bytes]) -> list[int]:
        """Returns the entries of pre-tokens; new ones are computed and added."""
        new = set(pre_tokens).difference(self._entry_of)
        self._add((pre_token, self._compute(pre_token)) for pre_token in new)
        entries = [*map(self._entry_of.__getitem__, pre_tokens)]
        for pre_token in new:
            if len(pre_token) > MAX_CACHED_LENGTH:
                del self._entry_of[pre_token]
        return entries

    def _add(self, ids_by_pre_token: Iterable[tuple[bytes, list[int]]]) -> None:
        """Puts pre-tokens and their ids into the dict."""
        before = len(self._ids) // self._dtype.itemsize
        new: list[int] = []
        for pre_token, ids in ids_by_pre_token:
            self._entry_of[pre_token] = len(ids) << _INDEX_BITS | before + len(new)
            new += ids
        self._ids += np.array(new, self._dtype).tobytes()

    def _gather(self, entries: NDArray[np.int64]) -> bytes:
        """Returns the ids of entries: int64 `(n,)` → the bytes of an array."""
        counts = entries >> _INDEX_BITS
        ends = np.cumsum(counts)
        indices = np.repeat((entries & _INDEX_MASK) - (ends - counts), counts)
        indices += np.arange(len(indices))
        return np.frombuffer(self._ids, self._dtype).take(indices).tobytes()

    def _clear(self) -> None:
        """Removes all pre-tokens but the fixed ones."""
        self._keys[:], self._entries[:] = 0, 0
        self._ids.clear()
        self._ids += bytes(self._dtype.itemsize)  # so that no entry is 0
        self._entry_of.clear()
        self._add(self._fixed.items())


def _border(special_token: str) -> bytes:
    """Returns the pre-token that stands for a special token: no text has it."""
    return BORDER + special_token.encode()


def _keys_of(raw: bytes, starts: NDArray[np.intp], lengths: NDArray[np.intp]) -> NDArray[np.uint64]:
    """Returns the first bytes of pre-tokens, zeros and their lengths: `(n,)` → `(n, 2)`.

    The length is the last byte; for a pre-token too long for a key it is 255, that of no key.
    """
    windows = np.ndarray((len(raw) - PADDING + 1,), f"V{PADDING}", raw, strides=(1,))
    keys = windows.take(starts).view("<u8").reshape(-1, 2)
    clipped = np.minimum(lengths, _KEY_BYTES + 1)
    return keys & _KEY_MASKS.take(clipped, axis=0) | _KEY_LENGTHS.take(clipped, axis=0)


def _slots_of(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Returns the slot of each key in the hash table: `(n, 2)` → `(n,)`."""
    mixed = (keys[:, 0] * _FACTORS[0] + keys[:, 1]) * _FACTORS[1]
    return (mixed >> np.uint64(64 - _SLOT_BITS)).astype(np.intp)


def _key_tables() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Returns the mask of the bytes of a pre-token, and its length as a key, by the length."""
    masks = np.zeros((_KEY_BYTES + 2, 16), np.uint8)
    lengths = np.zeros_like(masks)
    for length in range(_KEY_BYTES + 1):
        masks[length, :length] = 0xFF
        lengths[length, -1] = length
    lengths[-1, -1] = 0xFF
    return masks.view("<u8"), lengths.view("<u8")


_KEY_MASKS, _KEY_LENGTHS = _key_tables()
