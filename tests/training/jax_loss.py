"""The loss on JAX and the plain one against float64, in the layouts of CPUs and accelerators.

A program, run where KERAS_BACKEND=jax: prints as JSON by how much more the loss or a gradient is
off than the plain one, as a fraction of the largest number.
"""

import json
import sys

import jax
import numpy as np
from jax import numpy as jnp

from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.training.chunked_loss import cross_entropy_sum

WIDTH = 32


def plain(states, table, targets, weights):
    """The loss on all logits, with gradients by JAX."""
    logits = jnp.matmul(states, table.T, preferred_element_type="float32")
    log_probs = jax.nn.log_softmax(logits, axis=1)
    return -jnp.sum(weights * jnp.take_along_axis(log_probs, targets[:, None], 1)[:, 0])


def relative(found, expected):
    """The largest difference, as a fraction of the largest number."""
    found, expected = (np.asarray(each, "float64") for each in (found, expected))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def exact(states, table, targets, weights):
    """The loss and both gradients, in float64."""
    states, table, weights = (np.asarray(each, "float64") for each in (states, table, weights))
    logits = states @ table.T
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    rows = np.arange(len(targets))
    loss = -(weights * np.log(probs[rows, targets])).sum()
    probs[rows, targets] -= 1
    probs *= weights[:, None]
    return loss, probs @ table, probs.T @ states


def excess(vocab_size, rows, chunk_rows, dtype):
    random = np.random.default_rng(vocab_size + rows)
    states = jnp.asarray(random.normal(size=(rows, WIDTH)), dtype)
    table = jnp.asarray(random.normal(size=(vocab_size, WIDTH)) * 0.3, dtype)
    targets = jnp.asarray(random.integers(0, vocab_size, rows), "int32")
    # Some targets do not count, and these are ids that are none.
    weights = jnp.asarray(random.random(rows) * (random.random(rows) > 0.3), "float32")
    weights = weights.at[0].set(0.5)
    ours = jnp.where(weights == 0, -100, targets)

    def chunked(states, table):
        return cross_entropy_sum(states, table, ours, weights, chunk_rows=chunk_rows)

    def errors(function):
        loss, gradients = jax.jit(jax.value_and_grad(function, (0, 1)))(states, table)
        assert gradients[1].shape == table.shape
        expected = exact(states, table, targets, weights)
        return np.array(
            [relative(*pair) for pair in zip((loss, *gradients), expected, strict=False)]
        )

    of_plain = errors(lambda states, table: plain(states, table, targets, weights))
    return float((errors(chunked) - of_plain).max())


def main():
    kernels, results = current_kernels(), {}
    for accelerated in (False, True):
        vars(kernels)["accelerated"] = accelerated
        assert kernels.table_multiple() == (128 if accelerated else 1)
        for dtype in ("float32", "bfloat16"):
            results[f"{dtype}, {'accelerator' if accelerated else 'CPU'}"] = max(
                excess(vocab_size, rows, chunk_rows, dtype)
                for vocab_size in (65, 128, 257, 1000)
                for rows, chunk_rows in ((1, None), (40, None), (40, 16), (33, 8))
            )
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
