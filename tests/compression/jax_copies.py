"""Trains models that were made of others, on JAX, where a step deletes the arrays it is given.

A program, run where KERAS_BACKEND=jax: prints the names of those whose origin has changed.
"""

import numpy as np

from gpt2_keras.compression import make_student
from gpt2_keras.finetuning import add_special_tokens
from tests.models import random_ids, text_model


def main():
    makers = {
        "student": lambda model: make_student(model, 2),
        "more tokens": lambda model: add_special_tokens(model, ["<|user|>"]),
    }
    for name, make in makers.items():
        model = text_model()
        before = model.get_weights()
        made = make(model)
        made.compile()
        made.fit(random_ids((2, 8), made.config), verbose=0)
        try:
            same = all(map(np.array_equal, model.get_weights(), before))
        except RuntimeError:  # the array has been deleted
            same = False
        if not same:
            print(name)


if __name__ == "__main__":
    main()
