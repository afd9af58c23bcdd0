"""Near duplicates, found by MinHash."""

import hashlib
from collections.abc import Iterable

import numpy as np

from gpt2_keras.data.shuffling import mix

# Characters in a shingle. For 5-word shingles of English it would be about 25; in writing
# without spaces, 10 characters are about 5 words.
SHINGLE_CHARACTERS = 10
# Penedo et al., "The FineWeb Datasets" (2024), section 3.4: 14 bands of 8 hashes each.
BANDS, ROWS = 14, 8
_CHUNK = 1 << 12  # shingles hashed at a time
_FACTORS = mix(np.arange(1, BANDS * ROWS + 1, dtype=np.uint64)) | np.uint64(1)


def near_fingerprints(chunks: Iterable[str]) -> list[bytes]:
    """Returns MinHash fingerprints; similar texts have at least one in common.

    Two texts whose sets of shingles, 10 neighbouring characters each, have the
    Jaccard similarity s (size of the intersection by size of the union) have one
    in common with probability 1 - (1 - s⁸)¹⁴: 0.2 for s = 0.6, 0.56 for 0.7, 0.92 for 0.8 and
    0.9996 for 0.9. White space and case count.

    Source: Broder, "On the resemblance and containment of documents" (1997); the
    hashes are multiply-shift: Dietzfelbinger et al., "A reliable randomized
    algorithm for the closest-pair problem" (1997).

    Args:
        chunks: A text, split anywhere.

    Returns:
        14 fingerprints of 16 bytes. Deterministic, on every machine.

    Example:
        >>> text = " ".join(str(number) for number in range(1000))
        >>> len(set(near_fingerprints([text])) & set(near_fingerprints([text + "!"]))) > 0
        True
    """
    least = np.full(BANDS * ROWS, 2**64 - 1, np.uint64)
    held = np.zeros(0, np.uint64)  # the last characters before a chunk
    is_short = True
    for chunk in chunks:
        codes = np.frombuffer(chunk.encode("utf-32-le"), "<u4").astype(np.uint64)
        held = np.concatenate([held, codes])
        for start in range(0, len(held) - SHINGLE_CHARACTERS + 1, _CHUNK):
            end = start + _CHUNK + SHINGLE_CHARACTERS - 1
            least = np.minimum(least, _least_hashes(held[start:end]))
            is_short = False
        held = held[-(SHINGLE_CHARACTERS - 1) :]
    if is_short:  # one shingle, padded
        least = _least_hashes(np.resize(np.append(held, np.uint64(0)), SHINGLE_CHARACTERS))
    return [
        hashlib.blake2b(band.astype("<u8").tobytes(), digest_size=16, key=bytes([number])).digest()
        for number, band in enumerate(np.split(least, BANDS))
    ]


def _least_hashes(codes: np.ndarray) -> np.ndarray:
    """Returns the least value of each hash over all shingles: uint64 `(n,)` → `(hashes,)`."""
    count = len(codes) - SHINGLE_CHARACTERS + 1
    shingles = np.zeros(count, np.uint64)
    for offset in range(SHINGLE_CHARACTERS):
        shingles = shingles * _FACTORS[0] + codes[offset : offset + count]
    shingles = np.unique(mix(shingles))
    least: np.ndarray = (_FACTORS[:, None] * shingles).min(axis=1)  # (hashes, n) → (hashes,)
    return least
