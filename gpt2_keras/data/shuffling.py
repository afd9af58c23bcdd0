"""Random orders that are computed, not stored: any position of any epoch in constant time."""

import numpy as np

# The largest int32: every random generator in use accepts it as a seed.
LARGEST_SEED = 2**31 - 1
# Multiples of 2⁶⁴ / golden ratio, the step of SplitMix64. With so few bits in
# the halves of a small corpus, six rounds and not four.
_ROUND_KEYS = [np.uint64(0x9E3779B97F4A7C15 * n % 2**64) for n in range(1, 7)]


def epoch_keys(seed: int, epochs: np.ndarray) -> np.ndarray:
    """Returns the key of each epoch: int64 `(n,)` → uint64 `(n,)`."""
    return mix(mix(np.full_like(epochs, seed).view(np.uint64)) + epochs.view(np.uint64))


def permute(numbers: np.ndarray, keys: np.ndarray, count: int) -> np.ndarray:
    """Returns the position of each number in a random permutation of 0 … count - 1.

    The permutation is computed from the key and not stored: a Feistel network
    over the next power of 4, applied again to what falls outside. int64 and
    uint64 `(n,)` → int64 `(n,)`.

    Source: Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (2002),
    section 3. `tf.random.experimental.index_shuffle` does the same, but over at
    least 2¹⁶ numbers, which for a small corpus needs thousands of rounds.
    """
    half = np.uint64(((count - 1).bit_length() + 1) // 2)
    mask = np.uint64(2 ** int(half) - 1)
    positions, todo = numbers.astype(np.uint64), np.arange(len(numbers))
    while len(todo):
        left, right = positions[todo] >> half, positions[todo] & mask
        for key in _ROUND_KEYS:
            left, right = right, left ^ (mix(right + keys[todo] + key) & mask)
        positions[todo] = left << half | right
        todo = todo[positions[todo] >= count]
    return positions.view(np.int64)


def mix(numbers: np.ndarray) -> np.ndarray:
    """Returns uint64 `(n,)` that look random.

    Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
    Generators" (2014), `mix64` with the constants of `SplitMix64` (variant 13).
    """
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
