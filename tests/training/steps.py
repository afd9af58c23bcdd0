"""Trains a tiny model for three steps and writes its weights: a program for processes with
other devices or another backend than the tests'.

    python -m tests.training.steps OUT.npz CASES.json

`CASES.json` names the cases: `{"name": {"strategy": …, "model_parallel": …, "dtype": …,
"clip_norm": …, "distill": "teacher" or "stored", and arguments of `compile`}}`.
"""

import functools
import json
import os
import sys
from pathlib import Path

import keras
import numpy as np

from gpt2_keras import GPT2Config
from gpt2_keras.runs import open_strategy
from gpt2_keras.training import IGNORED_TARGET, make_optimizer
from tests.models import random_ids, random_model
from tests.training.tolerances import MODEL_SEED

CONFIG = GPT2Config(
    vocab_size=16, context_length=6, num_layers=1, num_heads=2, hidden_dim=8, dropout_rate=0.0
)
STEPS, BATCH_SIZE, CLIP_NORM = 3, 8, 0.5


def data(shard=(0, 1)):
    """Inputs and targets of unequal padding: the part of a worker of each batch."""
    rows = STEPS * BATCH_SIZE
    ids = random_ids((rows, 7), CONFIG)
    targets = ids[:, 1:].copy()
    for row in range(rows):
        targets[row, 6 - row % 5 :] = IGNORED_TARGET
    part, count = shard
    own = np.arange(rows).reshape(STEPS, count, -1)[:, part].ravel()
    return ids[own, :-1], targets[own]


def train(case):
    """Returns the weights after the steps, by path, and the logs."""
    options = {"clip_norm": CLIP_NORM, "dtype": "float32", "strategy": "none", **case}
    keras.utils.set_random_seed(0)
    strategy = open_strategy(options.pop("strategy"), options.pop("model_parallel", 1))
    dropout = options.pop("dropout_rate", 0.0)
    config = GPT2Config(**{**CONFIG.to_dict(), "dropout_rate": dropout})
    with strategy.building():
        model = random_model(config, dtype=options.pop("dtype"), seed=MODEL_SEED)
        optimizer = make_optimizer(1e-3, clip_norm=options.pop("clip_norm"))
        source = options.pop("distill", None)
        if source is not None:
            teacher = random_model(config, dtype=model.dtype_policy, seed=7)
            options["distill_from"] = teacher if source == "teacher" else source
        model.compile(optimizer, jit_compile="auto", **options)

    def make(shard):
        rows = BATCH_SIZE // shard[1]
        if keras.backend.backend() == "jax":
            ids, targets = data(shard)
            return (stored_logits(teacher, ids) if source == "stored" else ids), targets
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(data(shard)).batch(rows)

    with strategy.running():
        batches = strategy.distribute(make)
        sizes = {"batch_size": BATCH_SIZE} if isinstance(batches, tuple) else {}
        x, y = batches if isinstance(batches, tuple) else (batches, None)
        fitting = {"steps_per_epoch": None if sizes else STEPS, "shuffle": False, "verbose": 0}
        history = model.fit(x, y, **sizes, **fitting).history
    logs = {name: values[-1] for name, values in history.items()}
    return {**weights(model), "logs": [logs["loss"], logs["gradient_norm"]]}


def stored_logits(teacher, ids):
    """A batch with the logits of a teacher for every token."""
    logits = keras.ops.convert_to_numpy(teacher(ids))
    order = np.argsort(-logits, axis=-1)
    none = np.full((*ids.shape, 1), -1e4)  # of no other token
    largest = np.concatenate([np.take_along_axis(logits, order, axis=-1), none], axis=-1)
    return {"token_ids": ids, "teacher_ids": order, "teacher_logits": largest}


@functools.cache
def reference():
    """The plain case on one device of this process."""
    return train({})


def weights(model):
    """Every weight by path, without the biases of the keys, whose gradient is only rounding."""
    values = {}
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight).copy()
        if weight.path.endswith("qkv/bias"):
            np.split(value, 3)[1][:] = 0
        if not weight.path.endswith("seed_generator_state"):
            values[weight.path] = value
    return values


def main():
    if int(os.environ.get("TEST_CPUS", "0")):
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        split = [tf.config.LogicalDeviceConfiguration()] * int(os.environ["TEST_CPUS"])
        tf.config.set_logical_device_configuration(cpu, split)
    out, cases = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    arrays = {}
    for name, case in cases.items():
        arrays.update({f"{name}:{path}": value for path, value in train(case).items()})
    np.savez(out, **arrays)


if __name__ == "__main__":
    main()
