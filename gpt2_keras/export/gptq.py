"""GPTQ: rounds the weights of a product so that its outputs change the least."""

import numpy as np
import scipy.linalg

# Frantar et al., "GPTQ" (2023), section 3.3: added to the diagonal, times its mean.
DAMPING = 0.01
_BLOCK = 128  # columns between two updates of all later ones; section 3.3, "lazy batch-updates"


def gptq(weights: np.ndarray, scales: np.ndarray, hessian: np.ndarray, largest: int) -> np.ndarray:
    """Returns the integers of a quantized kernel, rounded one column after the other.

    The error of each column is made up for by the columns that follow, as far as the inputs of
    the product are correlated. Columns of the largest inputs come first. Source: Frantar et al.,
    "GPTQ" (2023), algorithm 1; the order is `act_order` of IST-DASLab/gptq.

    Args:
        weights: Float array `(units, width)`.
        scales: Float array `(units, blocks)`: what an integer of a row stands for, in each of
            equally many columns.
        hessian: Float array `(width, width)`: `xᵀx` of inputs of the product.
        largest: The largest integer; the smallest is its negative.

    Returns:
        int8 array `(units, width)`.

    Example:
        >>> weights = np.array([[0.4, 0.4]])
        >>> gptq(weights, np.ones((1, 1)), np.array([[2.0, 1.9], [1.9, 2.0]]), 7).tolist()
        [[0, 1]]
    """
    width = weights.shape[1]
    columns = np.repeat(scales.astype("float64"), width // scales.shape[1], axis=1)
    order = np.argsort(-np.diag(hessian), kind="stable")
    factor = _inverse_factor(hessian[np.ix_(order, order)])
    left, grid = weights[:, order].astype("float64"), columns[:, order]
    integers = np.empty(weights.shape, np.int8)
    for start in range(0, width, _BLOCK):
        stop = min(start + _BLOCK, width)
        errors = np.empty((len(weights), stop - start))
        for column in range(start, stop):
            scale, row = grid[:, column], factor[column]
            rounded = np.clip(np.rint(left[:, column] / scale), -largest, largest)
            integers[:, column] = rounded
            error = (left[:, column] - rounded * scale) / row[column]
            left[:, column:stop] -= np.outer(error, row[column:stop])
            errors[:, column - start] = error
        left[:, stop:] -= errors @ factor[start:stop, stop:]
    restored = np.empty_like(integers)
    restored[:, order] = integers
    return restored


def _inverse_factor(hessian: np.ndarray) -> np.ndarray:
    """Returns the upper factor `U` of the inverse, `UᵀU`, of a damped Hessian."""
    damped = hessian.astype("float64")
    diagonal = np.diag(damped).copy()
    diagonal[diagonal == 0] = 1.0  # an input that is always 0 decides nothing
    np.fill_diagonal(damped, diagonal + DAMPING * diagonal.mean())
    lower = scipy.linalg.cholesky(damped, lower=True, overwrite_a=True)
    inverse, _ = scipy.linalg.lapack.dpotri(lower, lower=True)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    upper: np.ndarray = scipy.linalg.cholesky(inverse, lower=False, overwrite_a=True)
    return upper
