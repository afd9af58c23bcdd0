"""A student is layers of its teacher, and nothing it does changes the teacher."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.compression import make_student
from gpt2_keras.compression.student import evenly_spaced
from gpt2_keras.finetuning import enable_lora
from tests.models import random_ids, random_model, text_model, weights_of

CONFIG = GPT2Config(
    vocab_size=50, context_length=8, num_layers=5, num_heads=2, hidden_dim=8, dropout_rate=0.0
)


def test_it_has_the_embeddings_the_layers_and_the_last_norm():
    teacher = random_model(CONFIG)
    student = make_student(teacher, [0, 2, 4])
    theirs, ours = weights_of(teacher), weights_of(student)
    assert student.config.num_layers == 3
    for name, value in ours.items():
        old = re.sub(r"\.h\.(\d+)\.", lambda found: f".h.{2 * int(found[1])}.", name)
        np.testing.assert_array_equal(value, theirs[old], err_msg=name)


def test_all_layers_say_what_the_teacher_says_in_its_dtype_and_tokenizer():
    teacher = text_model()
    student = make_student(teacher, 2, dropout_rate=0.3)
    ids = random_ids((2, 7), teacher.config)
    np.testing.assert_array_equal(np.array(student(ids)), np.array(teacher(ids)))
    assert student.tokenizer is teacher.tokenizer
    assert student.config.dropout_rate == 0.3
    assert make_student(random_model(CONFIG, dtype="mixed_bfloat16"), 1).compute_dtype == "bfloat16"


def test_training_the_student_does_not_change_the_teacher():
    teacher = random_model(CONFIG)
    before, ids = teacher.get_weights(), random_ids((4, 6), CONFIG)
    student = make_student(teacher, 2)
    student.compile(keras.optimizers.SGD(1.0), distill_from=teacher)
    student.fit(ids, verbose=0)
    for value, old in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)
    assert np.isfinite(np.array(teacher(ids))).all()


@pytest.mark.parametrize(
    ("count", "num_layers", "layers"),
    [
        (6, 12, [0, 2, 4, 7, 9, 11]),  # DistilGPT2
        (1, 3, [0]),
        (3, 3, [0, 1, 2]),
        (2, 12, [0, 11]),
        (4, 6, [0, 2, 3, 5]),
        (3, 4, [0, 2, 3]),  # 1.5 is rounded up
    ],
)
def test_layers_are_evenly_spaced(count, num_layers, layers):
    assert evenly_spaced(count, num_layers) == layers


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (
            [0, 5],
            ValueError,
            "layers[1]=5 is greater than 4. Use an integer from 0 to 4. The model",
        ),
        ([-1], ValueError, "layers[0]=-1 is less than 0"),
        ([2, 1], ValueError, "layers=[2, 1] are not in order, each once. Name layers of 0 to 4"),
        ([1, 1], ValueError, "layers=[1, 1] are not in order, each once"),
        ([], ValueError, "layers=[] is empty. Name layers of 0 to 4, such as layers=[0, 4]."),
        (6, ValueError, "layers=6 is greater than 5. Use an integer from 1 to 5. The model has"),
        (0, ValueError, "layers=0 is less than 1"),
        ("0,2", TypeError, "layers='0,2' is a str"),
        ([0, 1.5], TypeError, "layers[1]=1.5 is a float"),
    ],
)
def test_layers_that_are_not_there(layers, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make_student(random_model(CONFIG), layers)


def test_a_teacher_that_cannot_be_copied():
    with pytest.raises(TypeError, match=r"teacher='run' is a str\. Use a GPT-2 model"):
        make_student("run", 2)
    teacher = random_model(CONFIG)
    enable_lora(teacher, rank=2)
    with pytest.raises(ValueError, match=r"teacher has LoRA, whose weights .* Call merge_lora"):
        make_student(teacher, 2)


def test_on_jax_too_training_what_was_made_does_not_change_what_it_was_made_of():
    result = subprocess.run(
        [sys.executable, "-m", "tests.compression.jax_copies"],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr[-2000:]


def test_a_subclass_stays_one():
    class Own(GPT2LM):
        pass

    assert type(make_student(Own(CONFIG), 2)) is Own
