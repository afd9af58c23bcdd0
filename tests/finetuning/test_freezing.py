import re

import keras
import numpy as np
import pytest

from gpt2_keras.finetuning import freeze, unfreeze
from tests.models import TINY, random_ids, random_model

BLOCK = 12  # weights of a block


@pytest.mark.parametrize(("num_blocks", "left"), [(0, 2 * BLOCK + 2), (1, BLOCK + 2), (None, 2)])
def test_training_changes_every_weight_that_is_not_frozen_and_no_other(num_blocks, left):
    model = random_model()
    freeze(model, num_blocks)
    assert len(model.trainable_variables) == left
    before = {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}
    model.compile(run_eagerly=True, jit_compile=False)
    ids = random_ids((4, 9))
    model.fit(ids[:, :-1], ids[:, 1:], verbose=0)
    trainable = {variable.path for variable in model.trainable_variables}
    for variable in model.weights:
        changed = bool(np.any(keras.ops.convert_to_numpy(variable) != before[variable.path]))
        assert changed == (variable.path in trainable), variable.path


@pytest.mark.parametrize("position_embedding", ["learned", "sinusoidal"])
def test_unfreeze_is_the_inverse_of_freeze(position_embedding):
    config = type(TINY)(**{**TINY.to_dict(), "position_embedding": position_embedding})
    model = random_model(config)
    expected = [variable.path for variable in model.trainable_variables]
    freeze(model)
    unfreeze(model)
    assert [variable.path for variable in model.trainable_variables] == expected


@pytest.mark.parametrize(
    ("num_blocks", "error", "message"),
    [
        (-1, ValueError, "num_blocks=-1 is less than 0. Use an integer from 0 to 2."),
        (3, ValueError, "num_blocks=3 is greater than 2. Use an integer from 0 to 2."),
        (True, TypeError, "num_blocks=True is a bool. Use an integer from 0 to 2."),
        (1.0, TypeError, "num_blocks=1.0 is a float. Use an integer from 0 to 2."),
    ],
)
def test_a_number_of_blocks_that_the_model_has_not_is_an_error(num_blocks, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        freeze(random_model(), num_blocks)
