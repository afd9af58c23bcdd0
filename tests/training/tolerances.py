"""How far rounding may move the weights of two trainings that are equal by the formula."""

import numpy as np

EPSILON = float(np.finfo("float32").eps)  # 2^-23

# How far a gradient may differ, as a fraction of the norm of all gradients. Each is a sum over
# the 24 or 48 tokens of a batch; in another order, √48 / 2 roundings of half an epsilon of a
# term add up, and the terms are smaller than the norm.
GRADIENT_ROUNDING = 2 * EPSILON

# The smallest gradient of the models that AdamW trains here, as a fraction of that norm;
# `assert_no_gradient_is_near_zero` says so. Models whose seed is `MODEL_SEED` have none below.
SMALLEST_GRADIENT = 1e-5
MODEL_SEED = 2

# One update of AdamW is about the learning rate at most, however small the gradient is: it is
# divided by its own size. A gradient that is wrong by a fraction r of itself changes the
# numerator by r and the denominator by r, so that the update is wrong by up to 2 r, here 5 %.
# Clipping each micro-batch by itself is wrong by 80 %.
ADAMW_STEP_FRACTION = 2 * GRADIENT_ROUNDING / SMALLEST_GRADIENT


def adamw_tolerance(learning_rate, steps):
    """How far weights may differ after some updates of AdamW."""
    return steps * learning_rate * ADAMW_STEP_FRACTION


def sgd_tolerance(learning_rate, norm, *, momentum=0.0, steps=1, epsilon=EPSILON, weight=4.0):
    """How far weights below `weight` may differ after updates by gradients of some norm.

    The gradient of step i counts 1 + momentum + … in the last weights. Each of two models also
    rounds each weight once a step, by half an epsilon of it at most. `epsilon` is that of the
    dtype that gradients are computed in; weights are float32.
    """
    counts = sum(momentum**i for step in range(steps) for i in range(step + 1))
    gradients = learning_rate * norm * counts * GRADIENT_ROUNDING / EPSILON * epsilon
    return gradients + steps * weight * EPSILON / 2


def assert_no_gradient_is_near_zero(gradients):
    """What `SMALLEST_GRADIENT` says is true of these."""
    values = np.concatenate([np.ravel(gradient) for gradient in gradients]).astype("float64")
    assert np.abs(values).min() > SMALLEST_GRADIENT * np.sqrt(np.sum(values**2))
