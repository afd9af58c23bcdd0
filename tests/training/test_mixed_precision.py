"""Training in 16 bits reaches the loss that 32 bits reach."""

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.training import make_optimizer
from tests.bfloat16 import needs_bfloat16

CONFIG = GPT2Config(
    vocab_size=32, context_length=16, num_layers=2, num_heads=2, hidden_dim=32, dropout_rate=0.0
)
STEPS, BATCH_SIZE = 300, 16


def chain(rows):
    """Tokens of which each has four successors, all as likely: log 4 is the least loss."""
    random = np.random.default_rng(0)
    successors = random.integers(0, CONFIG.vocab_size, (CONFIG.vocab_size, 4))
    ids = random.integers(0, CONFIG.vocab_size, (rows, 17)).astype("int32")
    for column in range(1, 17):
        ids[:, column] = successors[ids[:, column - 1], random.integers(0, 4, rows)]
    return ids[:, :-1], ids[:, 1:]


@needs_bfloat16
@pytest.mark.slow
def test_sixteen_bits_reach_the_loss_of_thirty_two():
    inputs, targets = chain(STEPS * BATCH_SIZE + 256)
    learned, held_out = slice(256, None), slice(256)
    losses = {}
    for dtype in ("float32", "mixed_bfloat16", "mixed_float16"):
        keras.utils.set_random_seed(0)
        model = GPT2LM(CONFIG, dtype=dtype)
        model.compile(make_optimizer(3e-3, total_steps=STEPS), jit_compile=False)
        history = model.fit(
            inputs[learned], targets[learned], batch_size=BATCH_SIZE, shuffle=False, verbose=0
        ).history
        assert np.isfinite(history["loss"]).all()
        found = model.evaluate(inputs[held_out], targets[held_out], verbose=0, return_dict=True)
        losses[dtype] = found["loss"]
    assert losses["float32"] < 1.6  # log 32 = 3.47 at the start
    for dtype in ("mixed_bfloat16", "mixed_float16"):
        assert losses[dtype] == pytest.approx(losses["float32"], rel=0.01)
