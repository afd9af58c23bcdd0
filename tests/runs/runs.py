"""Stops runs, and compares their ends."""

import os

import keras
import numpy as np

from gpt2_keras.runs import RunDirectory

EXACT = (
    "step",
    "loss",
    "perplexity",
    "val_loss",
    "val_perplexity",
    "learning_rate",
    "gradient_norm",
)


class At(keras.callbacks.Callback):
    """Sends a signal to this process, or raises an error, after some batches.

    Args:
        batches: After how many batches of training; of an evaluation if it is `testing`.
        event: A signal or an error.
        testing: Whether to count the batches of evaluations.
    """

    def __init__(self, batches, event, testing=False):
        super().__init__()
        self.left, self.event, self.testing = batches, event, testing

    def on_train_batch_end(self, batch, logs=None):
        if not self.testing:
            self._count()

    def on_test_batch_end(self, batch, logs=None):
        if self.testing:
            self._count()

    def _count(self):
        self.left -= 1
        if self.left == 0 and isinstance(self.event, int):
            os.kill(os.getpid(), self.event)
        elif self.left == 0:
            raise self.event


def weights(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def last_state(out):
    """Every array of the newest checkpoint by its name."""
    with np.load(RunDirectory(out).last_checkpoint().path / "state.npz") as arrays:
        return dict(arrays)


def assert_same_state(one, other):
    """Every weight and every variable of the optimizer is that of the other run, to the bit."""
    ours, theirs = last_state(one), last_state(other)
    assert ours.keys() == theirs.keys()
    differing = [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()]
    assert differing == []


def assert_same_end(one, other):
    """State and history are those of the other run; only speed may differ."""
    assert_same_state(one, other)
    histories = [RunDirectory(out).progress().history for out in (one, other)]
    assert [[row[name] for name in EXACT] for row in histories[0]] == [
        [row[name] for name in EXACT] for row in histories[1]
    ]
