"""Gradients on JAX with and without rematerialization, their cost; a program that prints both.

KERAS_BACKEND=jax python -m tests.training.jax_remat
"""

import json

import jax
import keras
import numpy as np
from jax import numpy as jnp

from gpt2_keras import GPT2LM, GPT2Config
from tests.models import random_ids, random_model

CONFIG = GPT2Config(
    vocab_size=300, context_length=128, num_layers=4, num_heads=4, hidden_dim=64, dropout_rate=0.0
)


def measured(remat: bool | str) -> tuple[list[np.ndarray], dict[str, float]]:
    """Returns the gradients of a step, the bytes it keeps for them and its FLOPs by XLA's count."""
    model: GPT2LM = random_model(CONFIG, scale=0.1)
    model.compile(remat=remat, jit_compile=True)
    ids = random_ids((4, 129), CONFIG)
    trained = model.trainable_variables

    def loss(values):
        with keras.StatelessScope(state_mapping=list(zip(trained, values, strict=True))):
            logits = model(ids[:, :-1], training=True)
        log_probs = jax.nn.log_softmax(logits)
        return -jnp.mean(jnp.take_along_axis(log_probs, jnp.asarray(ids[:, 1:, None]), -1))

    values = [each.value for each in trained]
    _, backward = jax.vjp(loss, values)
    kept = {id(each): each.nbytes for each in jax.tree.leaves(backward)}
    compiled = jax.jit(jax.grad(loss)).lower(values).compile()
    numbers = {"kept": sum(kept.values()), "flops": compiled.cost_analysis()["flops"]}
    return [np.asarray(each) for each in compiled(values)], numbers


def main() -> None:
    found, report = {}, {}
    for remat in (False, True, "products"):
        found[remat], report[str(remat)] = measured(remat)
    for remat, gradients in found.items():
        report[str(remat)]["difference"] = max(
            float(np.abs(ours - plain).max() / np.abs(plain).max())
            for ours, plain in zip(gradients, found[False], strict=True)
        )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
