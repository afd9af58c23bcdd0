"""Random numbers that are a function of a row's seed and the step alone.

They have no state and do not depend on other rows: a row has the same numbers in any batch
and on any runtime, since 32-bit integer arithmetic is the same everywhere.
"""

from typing import Any

from gpt2_keras.generation.arrays import Array, xp

# Two rounds of multiply and shift that scatter every input bit over the output:
# lowbias32 of Chris Wellons, "Prospecting for Hash Functions" (2018).
_MULTIPLIERS = (0x7FEB352D, 0x846CA68B)
_SHIFTS = (16, 15, 16)
_GOLDEN = 0x9E3779B9  # 2³² divided by the golden ratio: spreads consecutive steps


def uniform(seeds: Any, step: Any) -> Array:
    """Returns a number in [0, 1) for each row.

    Args:
        seeds: Int32 tensor `(batch,)`.
        step: Int32 scalar: number of numbers that each row has had before.

    Returns:
        Float32 tensor `(batch,)`, a multiple of 2⁻²⁴.

    Example:
        >>> uniform(np.array([1, 2]), 0).numpy().round(3).tolist()
        [..., ...]
    """
    mixed = _mix(xp.bitwise_xor(_mix(xp.cast(seeds, "int32")), step * _int32(_GOLDEN)))
    return xp.cast(_shift_right(mixed, 8), "float32") * 2.0**-24


def _mix(x: Array) -> Array:
    """A bijection of the 32-bit integers; products wrap around."""
    x = xp.bitwise_xor(x, _shift_right(x, _SHIFTS[0]))
    for multiplier, shift in zip(_MULTIPLIERS, _SHIFTS[1:], strict=True):
        x = x * _int32(multiplier)
        x = xp.bitwise_xor(x, _shift_right(x, shift))
    return x


def _shift_right(x: Array, bits: int) -> Array:
    """Shifts in zeros; the op alone copies the sign, which is subtracted.

    With a product and not a bitwise "and", which LiteRT does not have.
    """
    return xp.right_shift(x, bits) - xp.right_shift(x, 31) * (1 << (32 - bits))


def _int32(value: int) -> Array:
    """The int32 with the bits of an unsigned 32-bit number."""
    return xp.constant(value - (1 << 32) if value >= 1 << 31 else value, "int32")
